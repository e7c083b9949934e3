from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from dali_pipes.scan.scan import scan
from dali_pipes.video_info import VideoInfo
from reskd.cli import run_tool
from reskd.commands.prepare_data import main as prepare_data
from reskd.reports.dataset.page import examples, write_data_page
from reskd.reports.dataset.videos import VideoSet
from tests.conftest import numbered_clip
from tests.dali_pipes.shown_pictures import Storing, write_shown
from tests.reskd.pages.parsed_page import check_page


def read_page(out: Path, videos: VideoSet, **options: Any) -> str:
    """The Markdown of a page that was written."""
    page = write_data_page(out, videos, **options)
    assert page == out / "data.html"
    return page.with_suffix(".md").read_text(encoding="utf-8")


def test_a_page_names_sizes_codecs_damage_and_cost(video_info: dict[Path, VideoInfo], tmp_path: Path) -> None:
    labels = {"train.csv": ["Run"] * 3 + ["Jump"]}
    page = read_page(tmp_path / "out", VideoSet(tmp_path / "videos", video_info, labels), num_frames=4, num_cores=2)
    assert "4 videos, 3 usable, 40 frames" in page
    assert "| frames | 8 | 8 | 12 | 19 | 20 |" in page
    assert "| h264 | yuv420p | untagged | untagged | 0 | no | 1:1 | 1 | 1 |" in page
    assert page.count("\n- ") == 2  # advice, and no line on pictures
    assert "| bad: does not open: Invalid data found when processing input | 1 | d.avi |" in page
    assert "train.csv: 4 labels of 2 classes, 1 to 3 each." in page and "| Jump | 1 |" in page
    assert "Measured on this machine, 3 sampled files" in page and "with 2 free cores" in page
    charts = re.findall(r"!\[[^\n]*\]\((charts/[a-z0-9-]+\.svg)\)", page)
    assert len(charts) == 6 and all((tmp_path / "out" / chart).is_file() for chart in charts)


def test_a_page_counts_pictures_that_are_not_stored_as_they_are_shown(tmp_path: Path) -> None:
    root = tmp_path / "a|\nb"
    root.mkdir()
    for number in range(3):
        storing = Storing(rotation=90, mirrored=True, pixel_aspect=Fraction(4, 3)) if number else Storing()
        write_shown(root / f"{number}\n|.mp4", storing)
    (root / "3\n|.mp4").write_bytes(b"no video")
    found = scan(sorted(root.iterdir()), root=root, store=tmp_path / "store")
    page = read_page(tmp_path, VideoSet(root, found, {}), num_frames=2, num_cores=1)
    assert "| h264 | yuv420p | untagged | untagged | 90 | yes | 4:3 | 1 | 2 |" in page
    assert "- 2 are turned or mirrored to be upright\n- 2 have pixels that are not square\n" in page
    assert "| 1 | 3\\n\\|.mp4 |" in page


def test_given_keyframe_distances_are_used(video_info: dict[Path, VideoInfo], tmp_path: Path) -> None:
    distances = {tmp_path / "videos" / "a.mp4": [1] * 8}
    page = read_page(
        tmp_path, VideoSet(tmp_path / "videos", video_info, {}), num_frames=8, num_cores=1, keyframe_distances=distances
    )
    assert "| keyframe distance, packets (1 files read) | 1 | 1 | 1 | 1 | 1 |" in page
    assert "8 frames decoded by a decoder that starts at the first frame, 8 by one that starts at the keyframe" in page


def test_nothing_usable_is_told(video_info: dict[Path, VideoInfo], tmp_path: Path) -> None:
    bad = {path: found for path, found in video_info.items() if not found.usable}
    with pytest.raises(ValueError, match="expected at least one usable video"):
        read_page(tmp_path, VideoSet(tmp_path, bad, {}), num_frames=4, num_cores=1)


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
    text = read_page(tmp_path, VideoSet(tmp_path / "videos", video_info, labels), num_frames=4, num_cores=1)
    assert "\n$\\frac{\\<b>.csv: 3 labels of 3 classes" in text
    for cell in (r"a\|b", r"\<script>", r"two\nlines"):
        assert f"| {cell} | 1 |" in text
    page = check_page((tmp_path / "data.html").read_text())
    assert {"a|b", "<script>", "two\\nlines"} <= set(page.texts)


def test_the_page_shows_a_video_of_each_class_and_says_what_to_do(tmp_path: Path) -> None:
    for number in range(60):
        folder = tmp_path / "videos" / f"class <{number:02}>"
        folder.mkdir(parents=True)
        numbered_clip(folder / "a.avi", "mjpeg", 2, tint=number)
    arguments = ["describe", str(tmp_path / "videos"), "--out", str(tmp_path / "out"), "--workers", "1"]
    assert run_tool(prepare_data, arguments) == 0
    text = (tmp_path / "out" / "data.html").read_text()
    page = check_page(text)
    images = page.of_tag("img")
    assert len(images) == 30  # every second class: at most 48
    assert images[0]["alt"] == "middle frame of class <00>/a.avi, class class <00>"
    assert len(text) < 500_000
    assert any("60 of 60 classes have fewer than 10 usable videos" in one for one in page.texts)


def test_a_video_that_was_deleted_after_the_scan_has_words_in_place_of_its_picture(
    video_info: dict[Path, VideoInfo], tmp_path: Path
) -> None:
    a = tmp_path / "videos" / "a.mp4"
    videos = VideoSet(tmp_path / "videos", {**video_info, a.with_name("gone.mp4"): video_info[a]}, {})
    (gone,) = [one for one in examples(videos) if one.name == "gone.mp4"]
    assert not gone.image and "No such file" in gone.missing
