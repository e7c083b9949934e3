"""Files from the wild: each is usable or named with a reason. Skipped where ../shared/data is absent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dali_pipes.config import DataConfig
from dali_pipes.decode.pyav import Window, decode_frames
from dali_pipes.manifest.build import build_manifests
from dali_pipes.scan.scan import scan
from dali_pipes.video_info import VideoInfo
from tests.conftest import SHARED_DATA

ODD, UCF10 = SHARED_DATA / "odd", SHARED_DATA / "ucf10"


@pytest.fixture(scope="module")
def odd_video_info(tmp_path_factory: pytest.TempPathFactory) -> dict[str, VideoInfo]:
    if not ODD.is_dir():
        pytest.skip("../shared/data/odd is absent")
    names = sorted(path.name for path in ODD.iterdir() if path.is_file() and not path.name.startswith("."))
    store = tmp_path_factory.mktemp("store")
    return scan(names, root=ODD, store=store)


def test_every_odd_file_is_usable_or_named(odd_video_info: dict[str, VideoInfo]) -> None:
    assert len(odd_video_info) >= 30
    for name, video_info in odd_video_info.items():
        assert video_info.health == "ok" or len(video_info.health.partition(": ")[2]) > 5, name
        assert video_info.usable == (video_info.num_frames > 0), name
    assert {name for name, video_info in odd_video_info.items() if not video_info.usable} == {
        "small__FlashVideo.flv",
        "small__WindowsMediaVideo.wmv",
        "small__mp4-with-audio.mp4",
    }
    cut = {name for name, video_info in odd_video_info.items() if video_info.health.startswith("cut")}
    assert {"decord__corrupted.mp4", "ucf_truncated__v_Archery_g12_c03.avi"} <= cut
    assert [odd_video_info[f"decord__video_{angle}.mov"].rotation for angle in (90, 180)] == [270, 180]


def test_the_last_counted_frame_of_every_usable_odd_file_decodes(odd_video_info: dict[str, VideoInfo]) -> None:
    for name, video_info in odd_video_info.items():
        if video_info.usable and video_info.num_frames <= 150:  # the longer ones were decoded to their end by the scan
            height, width = (
                (video_info.height, video_info.width)
                if video_info.rotation % 180 == 0
                else (video_info.width, video_info.height)
            )
            frames = np.stack(
                decode_frames(
                    ODD / name,
                    np.array([0, video_info.num_frames - 1]),
                    Window((0, 0, height, width), video_info.rotation, video_info.width, video_info.height),
                )
            )
            assert frames.shape == (2, height, width, 3), name


@pytest.mark.skipif(not UCF10.is_dir(), reason="../shared/data/ucf10 is absent")
def test_truncated_ucf_files_are_used_and_named(tmp_path: Path) -> None:
    truncated = (UCF10 / "truncated.txt").read_text().split()
    whole = ["BabyCrawling/v_BabyCrawling_g02_c01.avi", "BenchPress/v_BenchPress_g01_c05.avi"]
    listed = [path for path in [*truncated, *whole] if (UCF10 / path).is_file()]
    assert len(listed) >= 20
    (tmp_path / "list.txt").write_text("\n".join(listed))
    config = DataConfig(
        root=UCF10,
        train=tmp_path / "list.txt",
        group_pattern=r"v_(\w+_g\d+)_c",
        val_fraction=0.0,
        scan_cache=tmp_path / "scan",
        views={"student": {"size": 16, "source": "decoded"}},
    )
    messages: list[str] = []
    manifest = build_manifests(config, seed=0, splits=("train",), on_message=messages.append)["train"]
    assert len(manifest) == len(listed) and not manifest.dropped
    for path in listed:
        assert any(path in message and ": cut: " in message for message in messages) == (path in truncated), path
