from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from dali_pipes.scan.scan import scan
from dali_pipes.video_info import VideoInfo
from reskd.cli import run_tool
from reskd.commands.prepare_data import main as prepare_data
from reskd.reports.dataset.page import (
    VideoSet,
    describe_coded_sizes,
    measure_decode,
    sample_keyframe_distances,
    write_data_page,
)
from tests.conftest import numbered_clip
from tests.dali_pipes.shown_pictures import Storing, write_shown


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
    assert "| h264 | yuv420p | untagged | untagged | 0 | no | 1:1 | 1 | 1 |" in page
    assert "- " not in page
    assert "| bad: does not open: Invalid data found when processing input | 1 | d.avi |" in page
    assert "train.csv: 4 labels of 2 classes, 1 to 3 each." in page and "| Jump | 1 |" in page
    assert "Measured on this machine, 3 sampled files" in page and "with 2 free cores" in page
    assert (tmp_path / "out" / "data.png").read_bytes().startswith(b"\x89PNG")


def test_a_page_counts_pictures_that_are_not_stored_as_they_are_shown(tmp_path: Path) -> None:
    root = tmp_path / "a|\nb"
    root.mkdir()
    for number in range(3):
        storing = Storing(rotation=90, mirrored=True, pixel_aspect=Fraction(4, 3)) if number else Storing()
        write_shown(root / f"{number}\n|.mp4", storing)
    (root / "3\n|.mp4").write_bytes(b"no video")
    found = scan(sorted(root.iterdir()), root=root, store=tmp_path / "store")
    page = write_data_page(tmp_path, VideoSet(root, found, {}), num_frames=2, num_cores=1).read_text()
    assert "| h264 | yuv420p | untagged | untagged | 90 | yes | 4:3 | 1 | 2 |" in page
    assert "- 2 are turned or mirrored to be upright\n- 2 have pixels that are not square\n" in page
    assert "| 1 | 3\\n\\|.mp4 |" in page


def test_files_for_which_a_gpu_sets_up_a_decoder_each_time_are_counted(video_info: dict[Path, VideoInfo]) -> None:
    """128 x 96 is coded as it is shown; 340 x 256 is coded in whole blocks of 16."""
    whole = next(found for found in video_info.values() if found.codec == "h264")
    padded = replace(whole, width=340, height=256, coded_width=352, coded_height=256)
    assert describe_coded_sizes([whole, replace(padded, codec="mpeg4"), replace(padded, coded_width=0)]) == []
    (sentence,) = describe_coded_sizes([whole, padded, padded])
    assert sentence.startswith("On a GPU: 2 of 3 H.264 and HEVC files") and "352 x 256 for 340 x 256" in sentence


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


def test_names_keep_their_digits_and_only_reasons_lose_them(tmp_path: Path) -> None:
    for number in (12, 345):
        folder = tmp_path / "videos" / f"class {number}"
        folder.mkdir(parents=True)
        numbered_clip(folder / f"v_{number}.avi", "mjpeg", 40)
        data = (folder / f"v_{number}.avi").read_bytes()
        (folder / f"cut_{number}.avi").write_bytes(data[: len(data) * (number + 500) // 1000])
    arguments = ["describe", str(tmp_path / "videos"), "--out", str(tmp_path / "out"), "--workers", "1"]
    assert run_tool(prepare_data, arguments) == 0
    page = (tmp_path / "out" / "data.md").read_text()
    assert "class folders: 4 labels of 2 classes, 2 to 2 each." in page
    assert "| class 12 | 2 |" in page and "| class 345 | 2 |" in page
    assert "| cut: the file ends N bytes too early; N frames, but the header says N" in page
    assert "| 2 | class 12/cut_12.avi |" in page and "| mjpeg | yuvj420p |" in page


def test_names_are_no_markup_in_the_page_and_its_picture(video_info: dict[Path, VideoInfo], tmp_path: Path) -> None:
    labels = {"$\\frac{<b>.csv": ["a|b", "<script>", "two\nlines"]}
    page = write_data_page(tmp_path, VideoSet(tmp_path / "videos", video_info, labels), num_frames=4, num_cores=1)
    text = page.read_text()
    assert "\n$\\frac{\\<b>.csv: 3 labels of 3 classes" in text
    for cell in (r"a\|b", r"\<script>", r"two\nlines"):
        assert f"| {cell} | 1 |" in text
