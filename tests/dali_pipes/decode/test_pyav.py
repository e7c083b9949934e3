from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from dali_pipes.decode.pyav import ShortVideoError, Window, decode_frames
from dali_pipes.scan import scan as scan_module
from dali_pipes.video_info import VideoInfo
from tests.conftest import (
    ENCODERS,
    HEIGHT,
    WIDTH,
    numbered_clip,
    picture,
    read_number,
    set_display_rotation,
    write_clip,
)


def probe(path: Path) -> VideoInfo:
    return scan_module.probe(path).video_info


WHOLE = (0, 0, HEIGHT, WIDTH)


@pytest.mark.parametrize("codec", ENCODERS)
def test_wanted_frames_come_in_the_asked_order_with_the_right_pixels(codec: str, tmp_path: Path) -> None:
    path = numbered_clip(tmp_path / f"clip{ENCODERS[codec][0]}", codec, 30)
    wanted = np.array([29, 0, 7, 7, 13])
    frames = np.stack(decode_frames(path, wanted, Window(WHOLE, 0, WIDTH, HEIGHT)))
    assert frames.shape == (5, HEIGHT, WIDTH, 3) and frames.dtype == np.uint8
    assert [read_number(frame) for frame in frames] == [(number, False) for number in wanted]
    assert np.abs(frames.astype(int) - np.stack([picture(number) for number in wanted])).mean() < 3


def test_a_crop_is_cut_out_of_the_whole_picture(tmp_path: Path) -> None:
    path = numbered_clip(tmp_path / "clip.mp4", "libx264", 5)
    whole = np.stack(decode_frames(path, np.array([2]), Window(WHOLE, 0, WIDTH, HEIGHT)))
    part = np.stack(decode_frames(path, np.array([2]), Window((11, 23, 40, 51), 0, WIDTH, HEIGHT)))
    assert (part == whole[:, 11:51, 23:74]).all()


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_a_rotated_video_comes_out_upright(turns: int, tmp_path: Path) -> None:
    """The stored pictures lie turned; the header says how to turn them back."""
    stored = [np.rot90(picture(number), k=turns) for number in range(4)]  # counter-clockwise
    path = write_clip(tmp_path / "clip.mp4", "libx264", stored)
    if turns:
        set_display_rotation(path, quarter_turns_clockwise=turns)
    video_info = probe(path)
    assert video_info.rotation == {0: 0, 1: 270, 2: 180, 3: 90}[turns]
    frames = np.stack(
        decode_frames(path, np.array([3]), Window(WHOLE, video_info.rotation, video_info.width, video_info.height))
    )
    assert read_number(frames[0]) == (3, False)
    assert np.abs(frames[0].astype(int) - picture(3)).mean() < 4


def test_the_tagged_matrix_is_used(tmp_path: Path) -> None:
    red = [np.full((64, 64, 3), (220, 30, 30), np.uint8)] * 2
    tagged = write_clip(tmp_path / "tagged.mp4", "libx264", red, bt709=True)
    assert (probe(tagged).matrix, probe(tagged).color_range) == ("bt709", "limited")
    untagged = write_clip(tmp_path / "untagged.mp4", "libx264", red)
    assert probe(untagged).matrix == "untagged"
    for path in (tagged, untagged):
        pixels = np.stack(decode_frames(path, np.array([1]), Window((0, 0, 64, 64), 0, 64, 64)))
        assert np.abs(pixels.astype(int) - (220, 30, 30)).max() <= 4


def test_full_range_is_used(tmp_path: Path) -> None:
    white = [np.full((64, 64, 3), 255, np.uint8), np.zeros((64, 64, 3), np.uint8)]
    for codec, pix_fmt in (("mjpeg", "yuvj420p"), ("libx264", "yuvj420p"), ("libx264", "yuv420p")):
        path = write_clip(tmp_path / f"{pix_fmt}{ENCODERS[codec][0]}", codec, white, pix_fmt=pix_fmt)
        pixels = np.stack(decode_frames(path, np.array([0, 1]), Window((0, 0, 64, 64), 0, 64, 64)))
        assert pixels[0].min() >= 253 and pixels[1].max() <= 2


def test_a_video_shorter_than_asked_says_so(tmp_path: Path) -> None:
    path = numbered_clip(tmp_path / "clip.mp4", "libx264", 5)
    with pytest.raises(ShortVideoError, match=r"expected frame 5, found only 5 frames"):
        decode_frames(path, np.array([0, 5]), Window(WHOLE, 0, WIDTH, HEIGHT))


def test_a_file_that_is_no_video_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_text("not a video")
    with pytest.raises(av.error.FFmpegError, match="Invalid data"):
        decode_frames(path, np.array([0]), Window(WHOLE, 0, WIDTH, HEIGHT))
