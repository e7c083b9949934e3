"""Annotations against files: what is found under which name, and what is said of the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from dali_pipes.annotations.published.base import AnnotatedVideo, Annotations, Split
from dali_pipes.annotations.published.coverage import Coverage, describe_coverage, match, most_affected
from dali_pipes.annotations.published.video_files import VideoFiles
from tests.dali_pipes.annotations.published.published_forms import touch


def video(name: str, label: str = "air drumming", split: Split = "train", *others: str) -> AnnotatedVideo:
    return AnnotatedVideo((name, *others), split, (label,) if label else ())


def run(root: Path, *videos: AnnotatedVideo) -> Coverage:
    return match(Annotations(("air drumming", "yoga"), videos), VideoFiles(root))


def found(coverage: Coverage, split: Split = "train") -> list[str]:
    return [path for path, _ in coverage.found[split]]


@pytest.mark.parametrize(
    "path", ["a.mp4", "a.MKV", "air drumming/a.webm", "air_drumming/a.avi", "train/x/a.mov", "yoga/a.mp4"]
)
def test_any_known_suffix_in_any_folder_is_found(path: str, tmp_path: Path) -> None:
    touch(tmp_path, path, "b.mp4", "a.txt", "a", ".a.mp4.part")
    assert found(run(tmp_path, video("a"))) == [path]


def test_the_better_name_wins_and_a_dot_is_part_of_a_name(tmp_path: Path) -> None:
    touch(tmp_path, "id.mp4", "id_000001_000002.mp4", "two.x.mp4")
    assert found(run(tmp_path, video("id_000001_000002", "yoga", "train", "id"), video("two.x"))) == [
        "id_000001_000002.mp4",
        "two.x.mp4",
    ]


def test_of_several_files_of_a_name_the_folder_decides_by_path_then_label_then_split(tmp_path: Path) -> None:
    touch(tmp_path, "val/yoga/a.mp4", "train/yoga/a.mp4", "train/Air_Drumming/a.mp4", "val/air drumming/a.mp4")
    coverage = run(tmp_path, video("a", "air drumming", "val"))
    assert found(coverage, "val") == ["val/air drumming/a.mp4"]
    assert found(run(tmp_path, video("train/yoga/a", "air drumming", "val")), "val") == ["train/yoga/a.mp4"]
    assert list(coverage.odd) == ["videos have several files; the first was taken"]


def test_a_file_is_never_listed_twice(tmp_path: Path) -> None:
    touch(tmp_path, "id.mp4")
    coverage = run(
        tmp_path, video("id_000001_000002", "yoga", "train", "id"), video("id_000005_000006", "", "train", "id")
    )
    assert coverage.num_listed("train") == 1
    coverage = run(
        tmp_path, video("id_000001_000002", "yoga", "train", "id"), video("id_000005_000006", "yoga", "train", "id")
    )
    assert found(coverage) == ["id.mp4"]
    assert coverage.missing["train"][0].reason == "its file id.mp4 is listed as id_000001_000002"


def test_repetitions_are_told_apart_and_training_gives_way_to_validation(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "b.mp4", "c.mp4")
    coverage = run(
        tmp_path,
        video("a"),
        video("a"),
        video("b"),
        video("b", "yoga"),
        video("c"),
        video("c", "air drumming", "val"),
    )
    assert found(coverage) == ["a.mp4", "b.mp4"] and found(coverage, "val") == ["c.mp4"]
    assert coverage.odd == {
        "videos of train are listed twice; the second was left out": ["a"],
        "videos of train are listed twice with different labels; the first was taken": ["b"],
        "videos are in two splits; kept in val, left out of train": ["c"],
    }


def test_lines_for_people_name_shares_classes_unlabeled_and_strange_files(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "t.mp4", "strange.mp4")
    videos = (video("a"), video("b"), video("c", "yoga"), video("t", "", "test"), video("u", "", "test"))
    coverage = run(tmp_path, *videos)
    assert list(describe_coverage(coverage)) == [
        "train: 3 listed, 1 found (33.3%), 2 missing",
        "  yoga: 1 of 1 missing",
        "  air drumming: 1 of 2 missing",
        "test: 2 videos have no published label and are in no list",
        "1 files are in no annotation",
    ]
    assert most_affected(coverage, "train", 1) == [("yoga", 1, 1)]


def test_linked_folders_are_followed_and_a_circle_ends(tmp_path: Path) -> None:
    touch(tmp_path, "real/a.mp4", "videos/b.mp4")
    (tmp_path / "videos" / "linked").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "back").symlink_to(tmp_path / "videos")
    files = VideoFiles(tmp_path / "videos")
    assert files.num_files == 2 and files.find(video("a")) == ["linked/a.mp4"]


def test_links_to_nothing_and_hidden_files_are_not_found(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", ".trash/b.mp4", "._c.mp4")
    (tmp_path / "d.mp4").symlink_to(tmp_path / "nowhere.mp4")
    files = VideoFiles(tmp_path)
    assert files.num_files == 1 and [files.find(video(name)) for name in "abd"] == [["a.mp4"], [], []]
    coverage = run(tmp_path, video("a"), video("b"), video("d"))
    assert [missing.reason for missing in coverage.missing["train"]] == ["no file of this name"] * 2


def test_a_file_is_found_under_its_real_path(tmp_path: Path) -> None:
    touch(tmp_path, "real/a.mp4")
    (tmp_path / "linked").symlink_to(tmp_path / "real")
    assert VideoFiles(tmp_path).find(video("a")) == ["real/a.mp4"]


def test_a_folder_without_videos_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected videos \(.*\.mp4.*\), found none"):
        VideoFiles(tmp_path)
    with pytest.raises(ValueError, match="--videos: expected a folder of videos, found nothing"):
        VideoFiles(tmp_path / "nowhere")
