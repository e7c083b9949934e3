from __future__ import annotations

from pathlib import Path

import pytest

from dali_pipes.annotations.labels import check_folder_numbers, describe_labels
from dali_pipes.annotations.lists import (
    ListedVideo,
    ParsedList,
    class_names_of,
    label_videos,
    parse_list,
    read_class_names,
    read_list,
)


def test_class_folders_of_digits_are_names(tmp_path: Path) -> None:
    for name in ("2019", "20230115", "01", "1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.mp4").touch()
    listed = read_list(tmp_path, "folders")
    assert class_names_of(listed) == ("01", "1", "2019", "20230115")
    labeled = label_videos(listed, ("01", "1", "2019", "20230115"), group_pattern=None, source="folders")
    assert [video.label for video in labeled] == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="label '01'"):  # and not the second class
        label_videos(listed, ("a", "b"), group_pattern=None, source="folders", by_number=False)


@pytest.mark.parametrize("number", ["20230115", "2019", "9" * 5000])
def test_huge_and_sparse_numbers_are_refused_with_the_line(number: str, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(f"path,label\na.mp4,0\nb.mp4,{number}\n")
    parsed = parse_list(tmp_path, "list.csv")
    with pytest.raises(ValueError, match=r"list.csv, line 3: expected class numbers .*data\.classes") as caught:
        class_names_of(parsed.videos, lambda position: f"list.csv{parsed.place(position)}")
    assert len(str(caught.value)) < 300


def test_numbers_of_a_data_set_with_many_classes_are_taken() -> None:
    listed = [ListedVideo(str(number), (str(number),)) for number in range(0, 4000, 4)]
    assert len(class_names_of(listed)) == 3997


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["run", "run"], "there is a single class, 'run'"),
        (["1", "2", "3"], "labels are 1 to 3 and 0 never occurs"),
        (["0", "2", "1"], None),
        (["run", "7"], "labels are names and numbers (7, run, ...)"),
    ],
)
def test_labels_that_look_wrong_are_reported(labels: list[str], said: str | None) -> None:
    parsed = ParsedList([ListedVideo(str(number), (label,)) for number, label in enumerate(labels)])
    names = class_names_of(parsed.videos)
    sentences = describe_labels(parsed, names, has_class_file=False, source="list")
    assert [said in sentence for sentence in sentences if said] == ([True] if said else [])
    assert bool(sentences) == bool(said)


def test_numbers_of_folders_must_agree_with_the_class_file() -> None:
    parsed = ParsedList([], numbers={"Run": 2, "Jump": 1})
    check_folder_numbers(parsed, ("Jump", "Run"), "list")
    check_folder_numbers(ParsedList([], numbers={"Run": 1, "Jump": 0}), ("Jump", "Run"), "list")
    with pytest.raises(ValueError, match="expected the number 1 for the folder Run, .* found 2"):
        check_folder_numbers(parsed, ("Run", "Jump"), "list")


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ("Run\r\nJump\r\n".encode("utf-16"), ("Run", "Jump")),
        (b"\xef\xbb\xbf1 Run\n2 Jump", ("Run", "Jump")),
        (b"id,name\n0,Run\n1,Jump high\n", ("Run", "Jump high")),
    ],
)
def test_class_files_of_other_tools_are_read(data: bytes, found: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_bytes(data)
    assert read_class_names(tmp_path / "classes.txt") == found


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"Run\ncaf\xe9\n", "line 2: expected labels in UTF-8"),
        (b"Run\nJu\0mp\n", "line 2: expected text, found a NUL byte"),
        (b'{"Run": 0}', "found JSON"),
        (b"Run\nJump\nRun\n", "line 3: .*'Run' twice .also line 1"),
    ],
)
def test_damaged_class_files_are_refused_with_the_line(data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_bytes(data)
    with pytest.raises(ValueError, match=rf"classes\.txt.*{message}"):
        read_class_names(tmp_path / "classes.txt")


@pytest.mark.parametrize("pattern", ["(", "v_(x)?_c"])
def test_a_pattern_that_finds_no_group_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"data\.group_pattern"):
        label_videos([ListedVideo("v__c", ("x",))], ("x",), group_pattern=pattern, source="list")


@pytest.mark.parametrize(
    ("labels", "groups", "said"),
    [
        (("Jump", "jump", "run"), (), "1 labels look alike but are taken as different ones: 'Jump' and 'jump'"),
        (("caf\u00e9", "cafe\u0301"), (), "1 labels look alike"),
        (("run", "run\u200b"), (), "'run' and 'run\\u200b'"),
        (("a", "b", "a"), ("07", "7", "g1"), "1 groups look alike but are taken as different ones: '07' and '7'"),
        (("a", "b"), ("G1", "g1"), "1 groups look alike"),
        (("run 1", "run 2"), ("1", "10"), None),
    ],
)
def test_names_that_only_look_alike_are_told(
    labels: tuple[str, ...], groups: tuple[str, ...], said: str | None
) -> None:
    given = [*groups, *[None] * (len(labels) - len(groups))]
    videos = [ListedVideo(str(n), (label,), group) for n, (label, group) in enumerate(zip(labels, given, strict=True))]
    found = describe_labels(ParsedList(videos), sorted(set(labels)), has_class_file=False, source="list")
    alike = [sentence for sentence in found if "look alike" in sentence]
    assert len(alike) == bool(said) and (not said or said in alike[0])
