"""What one who knows the prototypes can tell from the selected frames."""

from __future__ import annotations

import re

from benchmarks.fewer_frames.oracle import oracle_table
from dali_pipes.synthetic.features import SyntheticSpec


def gaps(spec: SyntheticSpec, k: int) -> dict[str, float]:
    lines = oracle_table(spec, num_videos=60, ks=[k]).splitlines()[2:]
    found = (re.fullmatch(r"\| (\S.*) \| ([\d.]+) \|", line) for line in lines)
    return {match[1]: float(match[2]) for match in found if match}


def test_spread_frames_hold_more_than_those_of_one_end_and_all_hold_the_most() -> None:
    found = gaps(SyntheticSpec(frames=(60, 120)), 10)
    assert len(found) == 8
    assert found["all frames"] > found["uniform"] > max(found["first"], found["last"])


def test_as_many_frames_as_there_are_hold_what_all_hold() -> None:
    found = gaps(SyntheticSpec(frames=(20, 20), short_share=0.0), 20)
    assert found["uniform"] == found["first"] == found["last"] == found["all frames"]
