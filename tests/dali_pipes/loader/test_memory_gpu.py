from __future__ import annotations

from pathlib import Path

import pytest

from dali_pipes.annotations.lists import LabeledVideo
from dali_pipes.config import DataConfig
from dali_pipes.loader.memory import decoding_bytes
from dali_pipes.manifest.manifest import Manifest
from tests.dali_pipes.made_video_info import make_video_info


def _manifest(*sizes: tuple[int, int]) -> Manifest:
    videos = [LabeledVideo(f"{number}.mp4", (0,), "") for number in range(len(sizes))]
    of_path = {
        video.path: make_video_info(width=width, height=height)
        for video, (width, height) in zip(videos, sizes, strict=True)
    }
    return Manifest.from_video_info(Path("root"), ["a"], videos, of_path)


def _config(**views: object) -> DataConfig:
    sampling = {"num_frames": 8}
    return DataConfig.model_validate({"root": "root", "train": "folders", "sampling": sampling, "views": views})


def test_a_batch_of_full_hd_takes_the_gigabytes_that_dali_holds() -> None:
    """32 clips of 8 frames: 0.8 GB of pictures, 2 x 1.6 GB of decoded frames, and the views."""
    config = _config(teacher={"size": 224}, student={"size": 112, "source": "teacher_view"})
    needed = decoding_bytes(_manifest((1920, 1080)), config, views=("teacher", "student"), num_clips=32)
    of_clip = 1920 * 1080 * (8 * 1.5 + 2 * 8 * 3) + (224**2 + 112**2) * 8 * 3 * 4  # prefetched 2, in use, held
    assert needed == int(32 * of_clip) == pytest.approx(4.1e9, rel=0.02)


def test_one_large_video_among_hundreds_does_not_count() -> None:
    config = _config(student={"size": 112, "source": "decoded"})
    alike, with_large = _manifest(*[(320, 240)] * 300), _manifest(*[(320, 240)] * 299, (3840, 2160))
    of_alike = decoding_bytes(alike, config, views=("student",), num_clips=4)
    assert decoding_bytes(with_large, config, views=("student",), num_clips=4) == of_alike
