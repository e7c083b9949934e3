from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2

from reskd.gpu_checks.training_files import copy_often, write_frame_folders
from tests.conftest import read_number


def test_copies_and_frame_folders_hold_the_videos(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    videos = sorted(make_folder({"left": ["libx264"], "right": ["libx264"]}, num_frames=6).rglob("*.mp4"))
    for name in ("videos", "frames"):
        (tmp_path / name).mkdir()
    copy_often(videos, tmp_path / "videos", copies=2)
    links = sorted(path.relative_to(tmp_path / "videos").as_posix() for path in (tmp_path / "videos").rglob("*.mp4"))
    assert links == ["class_0/0_0.mp4", "class_0/0_1.mp4", "class_1/1_0.mp4", "class_1/1_1.mp4"]
    write_frame_folders(videos, tmp_path / "frames", copies=2)
    for number in range(2):
        for copy in range(2):
            files = sorted((tmp_path / "frames" / f"class_{number}" / f"{number}_{copy}").iterdir())
            assert [file.name for file in files] == [f"img_{index:05d}.jpg" for index in range(1, 7)]
            assert [read_number(cv2.imread(str(file))[:, :, ::-1])[0] for file in files] == list(range(6))
