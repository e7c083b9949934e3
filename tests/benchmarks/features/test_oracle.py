"""What one who knows the prototypes can tell from the selected frames."""

from __future__ import annotations

import pytest

from benchmarks.features.oracle import main, oracle_gaps
from dali_pipes.synthetic.features import SyntheticSpec


def gaps(spec: SyntheticSpec, k: int) -> dict[str, float]:
    return {selection: found for selection, (found,) in oracle_gaps(spec, num_videos=60, ks=[k]).items()}


def test_spread_frames_hold_more_than_those_of_one_end_and_all_hold_the_most() -> None:
    found = gaps(SyntheticSpec(frames=(60, 120)), 10)
    assert len(found) == 8
    assert found["all frames"] > found["uniform"] > max(found["first"], found["last"])


def test_as_many_frames_as_there_are_hold_what_all_hold() -> None:
    found = gaps(SyntheticSpec(frames=(20, 20), short_share=0.0), 20)
    assert found["uniform"] == found["first"] == found["last"] == found["all frames"]


def test_the_table_has_a_row_for_each_selection(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--videos", "5", "--k", "2", "4"])
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["k=2", "k=4"]
    assert len(rows) == 8
    assert len(rows[0].split()) == 3
