from __future__ import annotations

from pathlib import Path

import pytest

from dali_pipes.scan.scan import scan
from dali_pipes.video_info import VideoInfo
from reskd.reports.dataset_report import VideoSet, measure_decode, sample_keyframe_distances, write_data_page
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


def test_a_page_names_sizes_codecs_damage_and_cost(video_info: dict[Path, VideoInfo], tmp_path: Path) -> None:
    labels = {"train.csv": ["Run"] * 3 + ["Jump"]}
    page = write_data_page(
        tmp_path / "out", VideoSet(tmp_path / "videos", video_info, labels), num_frames=4, num_cores=2
    ).read_text()
    assert "4 videos, 3 usable, 40 frames" in page
    assert "| frames | 8 | 8 | 12 | 19 | 20 |" in page
    assert "| h264 | yuv420p | untagged | untagged | 0 | 1 |" in page
    assert "| bad: does not open: Invalid data found when processing input | 1 | d.avi |" in page
    assert "train.csv: 4 labels of 2 classes, 1 to 3 each." in page and "| Jump | 1 |" in page
    assert "Measured on this machine, 3 sampled files" in page and "with 2 free cores" in page
    assert (tmp_path / "out" / "data.png").read_bytes().startswith(b"\x89PNG")


def test_given_keyframe_distances_are_used(video_info: dict[Path, VideoInfo], tmp_path: Path) -> None:
    distances = {tmp_path / "videos" / "a.mp4": [1] * 8}
    page = write_data_page(
        tmp_path, VideoSet(tmp_path / "videos", video_info, {}), num_frames=8, num_cores=1, keyframe_distances=distances
    ).read_text()
    assert "| keyframe distance, packets (1 files read) | 1 | 1 | 1 | 1 | 1 |" in page
    assert "8 frames decoded by a decoder that starts at the first frame, 8 by one that starts at the keyframe" in page


def test_sampled_distances_are_those_of_the_files(video_info: dict[Path, VideoInfo], tmp_path: Path) -> None:
    distances = {path: list(found) for path, found in sample_keyframe_distances(video_info).items()}
    assert distances[tmp_path / "videos" / "a.mp4"] == [5, 5, 5, 5]
    assert distances[tmp_path / "videos" / "b.avi"] == [1] * 12
    assert tmp_path / "videos" / "d.avi" not in distances


def test_the_warm_up_is_not_counted(video_info: dict[Path, VideoInfo]) -> None:
    usable = {path: found for path, found in video_info.items() if found.usable}
    measured = measure_decode(usable, num_frames=3)
    assert len(measured.cpu_ms) == 3 and min(measured.cpu_ms) > 0


def test_nothing_usable_is_told(video_info: dict[Path, VideoInfo], tmp_path: Path) -> None:
    bad = {path: found for path, found in video_info.items() if not found.usable}
    with pytest.raises(ValueError, match="expected at least one usable video"):
        write_data_page(tmp_path, VideoSet(tmp_path, bad, {}), num_frames=4, num_cores=1)
