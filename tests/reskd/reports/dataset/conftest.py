from __future__ import annotations

from pathlib import Path

import pytest

from dali_pipes.scan.scan import scan
from dali_pipes.video_info import VideoInfo
from tests.conftest import numbered_clip


@pytest.fixture()
def video_info(tmp_path: Path) -> dict[Path, VideoInfo]:
    """Three videos and a file that is none."""
    root = tmp_path / "videos"
    root.mkdir()
    numbered_clip(root / "a.mp4", "libx264", 20, options={"g": "5", "bf": "0", "sc_threshold": "0"})
    numbered_clip(root / "b.avi", "mjpeg", 12)
    numbered_clip(root / "c.webm", "libvpx-vp9", 8)
    (root / "d.avi").write_bytes(b"no video")
    return scan(sorted(root.iterdir()), root=root, store=tmp_path / "store")
