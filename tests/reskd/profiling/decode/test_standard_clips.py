"""The standard files have the keyframes and B-frames that their names promise, and moving content."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import PictureType

from reskd.profiling.decode.standard_clips import KINDS, available_kinds, make_kind, moving_textures, shown
from tests.conftest import numbered_clip, read_number


def _pictures(path: Path) -> tuple[list[int], set[str]]:
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    keyframes = [number for number, frame in enumerate(frames) if frame.key_frame]
    return keyframes, {PictureType(frame.pict_type).name for frame in frames}


@pytest.mark.parametrize(
    ("name", "keyframes", "types"),
    [
        ("h264-g12-no-b", [0, 12, 24], {"I", "P"}),
        ("h264-g12", [0, 12, 24], {"I", "P", "B"}),
        ("h264-g250", [0], {"I", "P", "B"}),
        ("vp9-g12", [0, 12, 24], None),
        ("mjpeg", list(range(26)), {"I"}),
        ("mpeg4-asp", [0], {"I", "P", "B"}),
    ],
)
def test_keyframes_and_b_frames_are_where_the_name_says(
    name: str, keyframes: list[int], types: set[str] | None, tmp_path: Path
) -> None:
    kilobits = make_kind(tmp_path, name, [0], num_frames=26)
    (clip,) = (path for path in (tmp_path / name).iterdir() if path.suffix == KINDS[name].suffix)
    found, found_types = _pictures(clip)
    assert found == keyframes
    assert types is None or found_types == types
    assert 100 < kilobits < 20_000
    assert (tmp_path / name / "list.csv").read_text() == f"path,label\n{clip.name},{name}\n"


def test_every_kind_but_hevc_is_made_by_any_pyav() -> None:
    assert set(KINDS) - set(available_kinds()) <= {"hevc-g50"}


def test_pictures_move_and_equal_seeds_give_equal_pictures() -> None:
    first, second = list(moving_textures(1, 3)), list(moving_textures(1, 3))
    assert first[0].shape == (256, 340, 3) and first[0].dtype == np.uint8
    assert all((a == b).all() for a, b in zip(first, second, strict=True))
    assert np.abs(first[0].astype(int) - first[2]).mean() > 2


def test_a_short_video_is_shown_to_and_fro(tmp_path: Path) -> None:
    path = numbered_clip(tmp_path / "four.mp4", "libx264", 4)
    assert [read_number(picture)[0] for picture in shown(path, 9)] == [0, 1, 2, 3, 2, 1, 0, 1, 2]
