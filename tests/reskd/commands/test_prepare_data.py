"""Importing annotations as a user does: lists that our own reader takes, coverage, and faults in a sentence."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import yaml

from dali_pipes.annotations.lists import label_videos, read_class_names, read_list
from reskd.cli import run_tool
from reskd.commands import prepare_data
from tests.dali_pipes.annotations.published.published_forms import (
    ACTIVITYNET,
    DRUM,
    FCVID,
    KINETICS,
    KINETICS_TEST,
    SOMETHING,
    YOGA,
    touch,
    write,
)


def run_import(data_set: str, annotations: list[Path], videos: Path, *more: str) -> int:
    given = ["import", data_set, "--annotations", *map(str, annotations), "--videos", str(videos)]
    return run_tool(prepare_data.main, [*given, "--out", str(videos / "lists"), *more])


def test_kinetics_becomes_lists_that_can_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    videos = touch(tmp_path / "videos", f"yoga/{YOGA}_000007_000017.mp4", f"val/{DRUM}.mkv")
    assert run_import("kinetics400", write(tmp_path, {**KINETICS, **KINETICS_TEST}), videos) == 0
    lists = videos / "lists"
    assert sorted(path.name for path in lists.iterdir()) == ["classes.txt", "missing.csv", "train.csv", "val.csv"]
    names = read_class_names(lists / "classes.txt")
    (train,), (val,) = (read_list(videos, f"lists/{split}.csv") for split in ("train", "val"))
    assert (train.path, train.labels, train.group) == (f"yoga/{YOGA}_000007_000017.mp4", ("yoga",), YOGA)
    assert label_videos([val], names, group_pattern=None, source="val.csv")[0].labels == (0,)
    with (lists / "missing.csv").open(newline="") as file:
        (missing,) = csv.DictReader(file)
    assert missing["label"] == "shooting goal (soccer)" and missing["reason"] == "no file of this name"
    said = capsys.readouterr().out
    assert "train: 2 listed, 1 found (50.0%), 1 missing" in said and "val: 1 listed, 1 found (100.0%)" in said
    config = yaml.safe_load(said.split("for a config:")[1])
    assert config["data"]["train"] == "lists/train.csv" and config["data"]["test"] == "lists/val.csv"
    assert set(config) == {"data"}


def test_several_labels_go_through_to_the_class_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    videos = touch(tmp_path / "videos", "v_aaaaaaaaaaa.mp4", "v_bbbbbbbbbbb.mkv")
    assert run_import("activitynet", write(tmp_path, ACTIVITYNET), videos) == 0
    listed = read_list(videos, "lists/train.csv")
    names = read_class_names(videos / "lists" / "classes.txt")
    assert label_videos(listed, names, group_pattern=None, source="train.csv")[0].labels == (1, 0)
    config = yaml.safe_load(capsys.readouterr().out.split("for a config:")[1])
    assert config["loss"] == {"task": "sigmoid_bce"} and config["training"] == {"selection_metric": "map"}


def test_fcvid_is_tested_on_its_test_list_and_something_something_is_not_flipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    videos = touch(tmp_path / "fcvid", "making_cake/one.mp4", "beach/two.x.mp4")
    assert run_import("fcvid", write(tmp_path, FCVID), videos) == 0
    assert yaml.safe_load(capsys.readouterr().out.split("for a config:")[1])["data"]["test"] == "lists/test.csv"
    videos = touch(tmp_path / "ssv2", "7.webm", "8.webm")
    assert run_import("something_something_v2", write(tmp_path, SOMETHING), videos) == 0
    config = yaml.safe_load(capsys.readouterr().out.split("for a config:")[1])
    assert config["data"]["sampling"] == {"flip_probability": 0}


def test_too_low_a_coverage_fails_after_the_lists_are_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    videos = touch(tmp_path / "videos", f"{YOGA}.mp4", f"{DRUM}.mp4")
    annotations = write(tmp_path, KINETICS)
    assert run_import("kinetics400", annotations, videos, "--min-coverage", "0.9") == 1
    assert "at least 90.0% of each split's videos (--min-coverage), found train 50.0%;" in capsys.readouterr().err
    assert (videos / "lists" / "train.csv").exists()
    assert run_import("kinetics400", annotations, videos, "--min-coverage", "0.5") == 0
    assert run_import("kinetics400", annotations, videos, "--min-coverage", "90") == 1
    assert "expected a share from 0 to 1, e.g. 0.9, found 90" in capsys.readouterr().err


def test_the_wrong_folder_of_videos_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    videos = touch(tmp_path / "videos", "holiday.mp4")
    assert run_import("kinetics400", write(tmp_path, KINETICS), videos) == 1
    fault = capsys.readouterr().err
    assert f"expected files such as {YOGA}_000007_000017 with any suffix" in fault and "holiday.mp4" in fault
    assert not (videos / "lists").exists()
    assert run_import("kinetics400", write(tmp_path, KINETICS_TEST), videos) == 1
    assert "expected videos with labels, found none in the annotations" in capsys.readouterr().err


def test_a_class_name_with_a_bar_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    videos = touch(tmp_path / "videos", "making_cake/one.mp4")
    assert run_import("fcvid", write(tmp_path, {**FCVID, "classes.txt": "cake|pie\nbeach\ndog\n"}), videos) == 1
    assert "expected class names without '|' and stray spaces, found 'cake|pie'" in capsys.readouterr().err
