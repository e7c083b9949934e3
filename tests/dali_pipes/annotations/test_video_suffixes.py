from __future__ import annotations

import av
import pytest

from dali_pipes.annotations.video_suffixes import VIDEO_SUFFIXES

FORMATS = "mov avi asf flv matroska mpegts mpeg ogg rm mxf yuv4mpegpipe h264 hevc vvc av1 ivf m4v dv gif nut wtv gxf"
NO_VIDEOS = {"avif", "heic", "heif", "isma", "m4a", "m4b", "mka", "mks", "mpo"}  # pictures, sound, subtitles


@pytest.mark.parametrize("name", FORMATS.split())
def test_suffixes_of_ffmpegs_own_formats_are_videos(name: str) -> None:
    if name not in av.formats_available:
        pytest.skip(f"this FFmpeg does not read {name}")
    extensions = av.ContainerFormat(name, "r").extensions - NO_VIDEOS
    assert {f".{extension}" for extension in extensions} <= VIDEO_SUFFIXES


def test_suffixes_in_use_are_videos() -> None:
    names = "3gp 3g2 mts m2ts mxf asf vob ogg rm divx f4v y4m h264 hevc mpg"
    assert {f".{name}" for name in names.split()} <= VIDEO_SUFFIXES


def test_pictures_sound_and_texts_are_no_videos() -> None:
    names = "jpg png heic avif mp3 wav m4a mka srt vtt txt json csv npy mpo yuv zip"
    assert not VIDEO_SUFFIXES.intersection(f".{name}" for name in names.split())
