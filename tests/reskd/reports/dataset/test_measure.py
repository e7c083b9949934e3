from __future__ import annotations

from pathlib import Path

from dali_pipes.video_info import VideoInfo
from reskd.reports.dataset.measure import measure_decode, sample_keyframe_distances


def test_sampled_distances_are_those_of_the_files(video_info: dict[Path, VideoInfo], tmp_path: Path) -> None:
    distances = {path: list(found) for path, found in sample_keyframe_distances(video_info).items()}
    assert distances[tmp_path / "videos" / "a.mp4"] == [5, 5, 5, 5]
    assert distances[tmp_path / "videos" / "b.avi"] == [1] * 12
    assert tmp_path / "videos" / "d.avi" not in distances


def test_the_warm_up_is_not_counted(video_info: dict[Path, VideoInfo]) -> None:
    usable = {path: found for path, found in video_info.items() if found.usable}
    measured = measure_decode(usable, num_frames=3)
    assert len(measured.cpu_ms) == 3 and min(measured.cpu_ms) > 0
