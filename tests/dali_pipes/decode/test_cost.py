from __future__ import annotations

from pathlib import Path

import pytest

from dali_pipes.decode.cost import Keyframes, count_decoded, find_keyframes, spread_sample
from tests.conftest import numbered_clip


def test_keyframes_of_a_file_are_found_without_decoding(tmp_path: Path) -> None:
    path = numbered_clip(tmp_path / "a.mp4", "libx264", 30, options={"g": "8", "bf": "0", "sc_threshold": "0"})
    keyframes = find_keyframes(path)
    assert keyframes == Keyframes(30, (0, 8, 16, 24)) and keyframes.distances == (8, 8, 8, 6)


@pytest.mark.parametrize(
    ("num_packets", "gop", "num_wanted", "from_start", "from_keyframes"),
    [(8, 1, 8, 8, 8), (8, 4, 8, 8, 8), (8, 8, 1, 4.5, 4.5), (64, 1, 4, 56.5, 4), (64, 64, 4, 56.5, 56.5)],
)
def test_decoded_frames_are_counted(
    num_packets: int, gop: int, num_wanted: int, from_start: float, from_keyframes: float
) -> None:
    found = count_decoded(Keyframes(num_packets, tuple(range(0, num_packets, gop))), num_wanted, num_draws=4000)
    assert found.from_start == pytest.approx(from_start, abs=0.3)
    assert found.from_keyframes == pytest.approx(from_keyframes, abs=0.3)


def test_short_distances_cost_what_the_notes_say() -> None:
    """250 frames, 8 wanted, a keyframe every 12, no B-frames: 6.4 frames decoded for each wanted one."""
    found = count_decoded(Keyframes(250, tuple(range(0, 250, 12))), 8, num_draws=1000)
    assert found.from_keyframes / 8 == pytest.approx(6.4, abs=0.15)


def test_more_frames_wanted_than_there_are() -> None:
    assert count_decoded(Keyframes(3, (0,)), 8) == (3, 3)


def test_what_has_no_packets_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video")
    with pytest.raises(ValueError, match=r"a\.mp4: does not open"):
        find_keyframes(tmp_path / "a.mp4")


def test_a_sample_depends_on_names_alone_not_on_suffixes(tmp_path: Path) -> None:
    names = [f"v_{number}.avi" for number in range(50)]
    one = spread_sample([Path("/a") / name for name in names], 5)
    other = spread_sample([(Path("/b") / name).with_suffix(".mp4") for name in reversed(names)], 5)
    assert {path.stem for path in one} == {path.stem for path in other} and len(one) == 5
    assert spread_sample([Path("/a/x.avi")], 5) == [Path("/a/x.avi")]
