from __future__ import annotations

import csv
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from dali_pipes.annotations.lists import LabeledVideo, plain_path
from dali_pipes.config import DataConfig
from dali_pipes.manifest.build import build_manifests, copy_split_table
from dali_pipes.manifest.split_lists import join_groups
from dali_pipes.manifest.split_table import groups_of_videos
from dali_pipes.manifest.splits import videos_of_splits
from tests.conftest import numbered_clip


def _config(root: Path, **changes: Any) -> DataConfig:
    views = {"student": {"size": 16, "source": "decoded"}}
    return DataConfig(**{"root": root, "train": "train.csv", "val_fraction": 0, "views": views, **changes})


def _lists(root: Path, **lists: str) -> None:
    for name, lines in lists.items():
        (root / f"{name}.csv").write_text("path,label,group\n" + lines)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """0.mp4 to 5.mp4, all different."""
    root = tmp_path_factory.mktemp("videos")
    for number in range(6):
        numbered_clip(root / f"{number}.mp4", "libx264", 3 + number)
    return root


@pytest.fixture
def root(videos: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(videos, tmp_path / "root"))


def _build(config: DataConfig, *splits: str) -> list[str]:
    messages: list[str] = []
    build_manifests(config, seed=0, splits=splits or ("train",), on_message=messages.append)
    return messages


SPELLINGS = ["0.mp4", "./0.mp4", "x/../0.mp4", ".//0.mp4", "copy.mp4", "soft.mp4", "hard.mp4"]


@pytest.mark.parametrize(
    ("path", "splits"), [*((path, ("train", "val")) for path in SPELLINGS), ("copy.mp4", ("test",))]
)
def test_a_video_in_training_and_test_list_is_refused_unless_allowed(
    path: str, splits: tuple[str, ...], root: Path
) -> None:
    (root / "x").mkdir()
    shutil.copy(root / "0.mp4", root / "copy.mp4")
    (root / "soft.mp4").symlink_to("0.mp4")
    os.link(root / "0.mp4", root / "hard.mp4")
    _lists(root, train="0.mp4,a,\n1.mp4,b,\n", test=f"2.mp4,a,\n{path},a,\n")
    config = _config(root, test="test.csv")
    why = {"0.mp4": "0.mp4 is in both", "copy.mp4": "have the same content"}.get(path, "are one (path|file)")
    with pytest.raises(ValueError, match=rf"1 video of the test list are.*{why}; .*data.allow_shared_videos=true"):
        _build(config, *splits)
    said = _build(config.model_copy(update={"allow_shared_videos": True}), *splits)
    assert any("results on the test list are too good" in message for message in said)


def test_copies_in_the_training_list_are_named_and_stay_on_one_side(root: Path) -> None:
    shutil.copy(root / "0.mp4", root / "9.mp4")
    _lists(root, train="".join(f"{number}.mp4,{'ab'[number % 2]},\n" for number in (0, 1, 2, 3, 4, 5, 9)))
    for seed in range(4):
        config = _config(root, val_fraction=0.4)
        _, found = videos_of_splits(config, seed, ("train", "val"), lambda message: None)
        assert {"0.mp4", "9.mp4"} <= {v.path for v in found["val"]} or {"0.mp4", "9.mp4"} <= {
            v.path for v in found["train"]
        }
    said = _build(_config(root, val_fraction=0.4), "train", "val")
    assert said[1].startswith("data.train: 1 videos are copies of others: 0.mp4 and 9.mp4 have the same content")
    assert "DIFFERENT LABELS" in said[2]


def test_copies_of_one_video_alone_are_split_only_if_that_is_allowed(root: Path) -> None:
    for number in range(1, 5):
        shutil.copy(root / "0.mp4", root / f"{number}.mp4")
    _lists(root, train="".join(f"{number}.mp4,{'ab'[number % 2]},\n" for number in range(5)))
    config = _config(root, val_fraction=0.4)
    with pytest.raises(ValueError, match=r"one group in each.*equal content are one group; set data.allow_shared_v"):
        _build(config, "train", "val")
    said = _build(config.model_copy(update={"allow_shared_videos": True}), "train", "val")
    assert any("on both sides of a split" in message for message in said)


def test_the_test_list_is_compared_without_decoding_it_and_may_be_absent(root: Path) -> None:
    _lists(root, train="0.mp4,a,\n1.mp4,b,\n", test="2.mp4,a,\n3.mp4,b,\n")
    scanning, *others = _build(_config(root, test="test.csv"))
    assert scanning.startswith("scanning 2 new files") and others == _build(_config(root, test="none.csv")) == []
    assert not any("2.mp4" in part.read_text() for part in (root / ".reskd_scan").glob("*.csv"))


def test_groups_of_both_lists_are_counted(root: Path) -> None:
    _lists(root, train="0.mp4,a,g1\n1.mp4,b,g2\n2.mp4,b,\n", test="3.mp4,a,g1\n4.mp4,b,\n")
    assert "1 groups have videos in both data.train and data.test: g1" in _build(_config(root, test="test.csv"))


def test_videos_of_a_test_list_have_the_groups_of_the_pattern_where_it_matches(root: Path) -> None:
    _lists(root, train="0.mp4,a,\n1.mp4,b,\n", test="2.mp4,a,g1\n3.mp4,b,g2\n4.mp4,b,\n")
    config = _config(root, test="test.csv", group_pattern=r"([0-3])\.mp4")
    for splits in (("train", "val"), ("train", "val", "test")):
        build_manifests(config, seed=3, splits=splits)
        copy_split_table(config, root / "splits.csv", seed=3, splits=splits)
        groups = groups_of_videos((root / "splits.csv").read_bytes())
        assert groups == {"0.mp4": "0", "1.mp4": "1", "2.mp4": "2", "3.mp4": "3", "4.mp4": "4.mp4"}


@pytest.mark.parametrize("train", ["train.csv", "folders"])
@pytest.mark.parametrize("writable", [True, False])
def test_the_table_of_splits_names_every_video_once(
    train: str, writable: bool, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _lists(root, train="".join(f"{n}.mp4,{'ab'[n % 2]},{'gh'[n // 2 % 2]}\n" for n in range(4)), test="4.mp4,a,\n")
    if train == "folders":
        for number in range(6):
            (root / "ab"[number % 2]).mkdir(exist_ok=True)
            (root / f"{number}.mp4").rename(root / "ab"[number % 2] / f"{number}.mp4")
    config = _config(root, train=train, test="test.csv" if train != "folders" else None, val_fraction=0.4)
    if writable:
        build_manifests(config, seed=3)
        monkeypatch.setattr("dali_pipes.manifest.build.read_lists", lambda *positional: pytest.fail("read again"))
    copy_split_table(config, root / "splits.csv", seed=3, splits=("train", "val"))
    with (root / "splits.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    monkeypatch.undo()
    _, found = videos_of_splits(config, 3, ("train", "val"), lambda message: None)
    expected = {v.path: (split, "ab"[v.label], v.group) for split, videos in found.items() for v in videos}
    if train != "folders":
        expected["4.mp4"] = ("test", "a", "4.mp4")
    assert {row["path"]: (row["split"], row["label"], row["group"]) for row in rows} == expected
    groups = {split: {row["group"] for row in rows if row["split"] == split} for split in ("train", "val", "test")}
    assert not groups["train"] & groups["val"] and len(rows) == len(expected)


def test_groups_with_copies_are_joined_through_one_another() -> None:
    videos = [LabeledVideo(name, (0,), group) for name, group in zip("abcdef", "112234", strict=True)]
    joined = join_groups(videos, [("b", "c"), ("d", "e")])
    assert [video.group for video in joined] == ["1", "1", "1", "1", "1", "4"]
    assert join_groups(videos, []) == videos


@pytest.mark.parametrize(
    ("path", "plain"),
    [("a.mp4", "a.mp4"), ("./a.mp4", "a.mp4"), ("x/.././y//a.mp4", "y/a.mp4"), ("x/..a.mp4", "x/..a.mp4")],
)
def test_paths_have_one_plain_spelling(path: str, plain: str) -> None:
    assert plain_path(path) == plain
