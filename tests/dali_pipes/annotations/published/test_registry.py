"""Each published form, good and broken."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from dali_pipes.annotations.published.base import Annotations
from dali_pipes.annotations.published.registry import DATA_SETS
from tests.dali_pipes.annotations.published.published_forms import (
    ACTIVITYNET,
    DRUM,
    FCVID,
    FCVID_AR_NET,
    GOAL,
    HEADER,
    KINETICS,
    KINETICS_TEST,
    MINI_FOLDERS,
    MINI_IDS,
    SOMETHING,
    SOMETHING_TEST,
    YOGA,
    write,
)


def read(data_set: str, folder: Path, files: Mapping[str, Any]) -> Annotations:
    return DATA_SETS[data_set].read(write(folder, files))


def lines(annotations: Annotations) -> list[tuple[Any, ...]]:
    return [(video.names[0], video.split, *video.labels) for video in annotations.videos]


def test_kinetics_clips_are_named_by_id_and_seconds_and_classes_are_sorted(tmp_path: Path) -> None:
    found = read("kinetics400", tmp_path, KINETICS)
    assert found.class_names == ("air drumming", "shooting goal (soccer)", "yoga")
    assert lines(found) == [
        (f"{YOGA}_000007_000017", "train", "yoga"),
        (f"{GOAL}_000100_000110", "train", "shooting goal (soccer)"),
        (f"{DRUM}_000000_000010", "val", "air drumming"),
    ]
    assert found.videos[2].names[1] == found.videos[2].group == DRUM
    assert found.remarks == ("the CSVs name 3 classes, Kinetics-400 has 400",)


def test_a_kinetics_test_csv_without_labels_has_videos_without_labels(tmp_path: Path) -> None:
    assert lines(read("kinetics400", tmp_path, KINETICS_TEST)) == [("--6bJUbfpnQ_000017_000027", "test")]


@pytest.mark.parametrize("with_classes", [True, False])
def test_adafuse_lists_of_mini_kinetics_with_either_separator(with_classes: bool, tmp_path: Path) -> None:
    files = MINI_FOLDERS if with_classes else {k: v for k, v in MINI_FOLDERS.items() if k != "minik_classInd.txt"}
    found = read("mini_kinetics", tmp_path, files)
    assert found.class_names == ("air drumming", "yoga")
    assert lines(found) == [
        (f"{YOGA}_000007_000017", "train", "yoga"),
        (f"{DRUM}_000000_000010", "val", "air drumming"),
    ]
    assert found.videos[0].names[1] == YOGA


def test_id_lists_of_mini_kinetics_take_labels_from_the_csvs_and_count_what_these_lack(tmp_path: Path) -> None:
    found = read("mini_kinetics", tmp_path, {**MINI_IDS, **KINETICS})
    assert found.class_names == ("air drumming", "yoga") and len(found.videos) == 2
    assert found.remarks == ("1 ids of the lists are in none of the CSVs, or in another split",)


def test_a_class_list_keeps_its_order_and_chooses_videos_of_the_csvs(tmp_path: Path) -> None:
    found = read("mini_kinetics", tmp_path, {"classes.txt": "yoga\nair drumming\nflying\n", **KINETICS})
    assert found.class_names == ("yoga", "air drumming", "flying")
    assert [video.labels for video in found.videos] == [("yoga",), ("air drumming",)]
    assert found.remarks == ("1 classes are in none of the CSVs: flying",)


def test_activitynet_labels_count_once_a_video_and_testing_has_none(tmp_path: Path) -> None:
    found = read("activitynet", tmp_path, ACTIVITYNET)
    assert found.class_names == ("Archery", "Yoga")
    assert lines(found) == [
        ("v_aaaaaaaaaaa", "train", "Yoga", "Archery"),
        ("v_bbbbbbbbbbb", "val", "Archery"),
        ("v_ccccccccccc", "test"),
    ]


def test_fcvid_joins_the_split_file_and_the_matrix_line_by_line(tmp_path: Path) -> None:
    found = read("fcvid", tmp_path, FCVID)
    assert found.class_names == ("making cake", "beach", "dog")
    assert lines(found) == [
        ("making_cake/one", "train", "making cake", "dog"),
        ("beach/two.x", "test", "beach"),
        ("three", "test"),
    ]


@pytest.mark.parametrize("names", ["a\nb\nc\n", "0,a\n1,b\n2,c\n", "1 a\n2 b\n3 c\n"])
def test_fcvid_in_ar_nets_form_with_names_in_any_of_three_ways(names: str, tmp_path: Path) -> None:
    found = read("fcvid", tmp_path, {**FCVID_AR_NET, "classInd.txt": names})
    assert lines(found) == [("one", "train", "c", "a"), ("two", "val", "b")]


def test_fcvid_without_class_names_calls_them_by_number_and_says_so(tmp_path: Path) -> None:
    found = read("fcvid", tmp_path, FCVID_AR_NET)
    assert found.class_names == ("0", "1", "2")
    assert found.remarks == ("no list of class names was given: the classes are called by their numbers",)


def test_something_something_templates_become_labels_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    found = read("something_something_v2", tmp_path, {**SOMETHING, **SOMETHING_TEST})
    assert found.class_names == ("Holding something next to something", "Throwing something")
    assert lines(found) == [
        ("7", "train", "Holding something next to something"),
        ("8", "val", "Throwing something"),
        ("9", "test", "Throwing something"),
        ("10", "test"),
    ]


ENTRY = {"subset": "training", "annotations": [{"label": "x"}]}
BROKEN: list[tuple[str, dict[str, Any], str]] = [
    ("kinetics400", {"a.csv": ""}, "expected text, found an empty file"),
    ("kinetics400", {"a.csv": HEADER}, "expected at least one video, found only the line of column names"),
    (
        "kinetics400",
        {"a.csv": "label,youtube_id,split\nx,y,train\n"},
        r"missing: time_start, time_end\), found a Kinetics",
    ),
    ("kinetics400", {"a.csv": HEADER + "x,y,1,two,train,0\n"}, "a.csv, line 2: expected seconds in time_start"),
    ("kinetics400", {"a.csv": HEADER + "x,y,1,2,dev,0\n"}, "line 2: .* train, val or test as split"),
    (
        "kinetics400",
        {"train.json": {YOGA: {"url": "u", "subset": "train"}}},
        "found Kinetics annotations in JSON; give",
    ),
    ("kinetics400", ACTIVITYNET, "expected a Kinetics CSV, .*, found an ActivityNet annotation file"),
    ("kinetics400", {"a.csv": "<!DOCTYPE html><html>"}, "found a web page, perhaps from a failed download"),
    ("mini_kinetics", MINI_IDS, "both with the CSVs of Kinetics-400, found a list of YouTube ids"),
    ("mini_kinetics", KINETICS, "expected Mini-Kinetics: .*, found a Kinetics CSV"),
    ("mini_kinetics", {**MINI_FOLDERS, **KINETICS}, "expected Mini-Kinetics"),
    (
        "mini_kinetics",
        {**MINI_FOLDERS, "minik_classInd.txt": "yoga\nair drumming\n"},
        "expected class 1 to be 'air drumming' as before",
    ),
    ("mini_kinetics", {"mini_train.txt": "a/yoga/x 30 0\nnonsense\n"}, "line 2: expected 'path frames class'"),
    ("mini_kinetics", {"mini_train.txt": "a/yoga/x 30 5\n"}, "numbered from 0 without gaps"),
    ("mini_kinetics", {"mini.txt": "a/yoga/x 30 0\n"}, "expected train, val or test in the file's name"),
    ("activitynet", {"a.json": "{"}, "expected an ActivityNet annotation file .*, found damaged JSON"),
    ("activitynet", {"a.json": {"results": {}}}, "found JSON with the keys results"),
    ("activitynet", {"a.json": {"database": {}}}, "found an ActivityNet annotation file"),
    ("activitynet", {"a.json": {"database": {"id1": {**ENTRY, "subset": "dev"}}}}, "expected id1 to have a subset"),
    ("activitynet", {"a.json": {"database": {"id1": {**ENTRY, "annotations": [{}]}}}}, "annotations with labels"),
    ("activitynet", KINETICS, "expected one file, .* found 2 files"),
    ("activitynet", SOMETHING_TEST, "expected one file"),
    ("fcvid", {k: v for k, v in FCVID.items() if "Label" not in k}, "expected FCVID: "),
    ("fcvid", {**FCVID, "FCVID_Label.txt": "1 0 1\n"}, "each of the 3 videos of .*, found 1 lines"),
    ("fcvid", {**FCVID, "FCVID_Label.txt": "1 0 1\n0 1\n0 0 1\n"}, "line 2: expected 3 zeros and ones"),
    ("fcvid", {**FCVID, "FCVID_VideoName_TrainTestSplit.txt": "a train\nb\nc test\n"}, "line 2: expected 'name train'"),
    ("fcvid", {**FCVID, "classes.txt": "only one\n"}, "a distinct name for each of at least 3 classes, found 1 names"),
    ("fcvid", ACTIVITYNET, "expected FCVID: .*, found an ActivityNet annotation file"),
    ("something_something_v2", {"train.json": SOMETHING["train.json"]}, "expected labels.json and at least one list"),
    ("something_something_v2", {**SOMETHING, "labels.json": {"Throwing something": "0"}}, "none of the 1 labels"),
    ("something_something_v2", {**SOMETHING, "labels.json": {"Throwing something": "3"}}, "numbered 0 to 0"),
    ("something_something_v2", {**SOMETHING, "list.json": SOMETHING["train.json"]}, "train, val or test in the file"),
    ("something_something_v2", {"labels.json": [1, 2]}, "found a JSON list of 2 entries"),
    ("something_something_v2", {**SOMETHING, "test-answers.csv": KINETICS["val.csv"]}, "found a Kinetics CSV"),
    ("something_something_v2", ACTIVITYNET, "found an ActivityNet annotation file"),
]


@pytest.mark.parametrize(("data_set", "files", "message"), BROKEN)
def test_a_broken_or_wrong_file_is_refused_with_what_it_looks_like(
    data_set: str, files: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read(data_set, tmp_path, files)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("data_set", sorted(DATA_SETS))
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04\xff\xfe", "found a zip archive; unpack it"),
        (b"\x1f\x8b\x08\xff", "found a gzip archive"),
        (b"\xff\x00\xfe", "found a file that is not text"),
        (b"\xef\xbb\xbf\n", "found an empty file"),
        (None, "found nothing"),
    ],
)
def test_what_is_no_text_is_refused_by_every_reader(
    data_set: str, content: bytes | None, message: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "train.json").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        DATA_SETS[data_set].read([tmp_path / "train.json"])


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbf" + KINETICS["val.csv"].replace("\n", "\r\n").encode())
    assert lines(DATA_SETS["kinetics400"].read([tmp_path / "a.csv"])) == [
        (f"{DRUM}_000000_000010", "val", "air drumming")
    ]
