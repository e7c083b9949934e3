from __future__ import annotations

from pathlib import Path

import pytest

from dali_pipes.annotations.lists import ListedVideo, class_names_of, label_videos, read_class_names, read_list


def _write(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text)
    return folder


def test_a_csv_gives_path_label_and_group(tmp_path: Path) -> None:
    _write(tmp_path, "list.csv", "path, label, group, frames\na/1.mp4, run, g1, 3\na/2.mp4,jump,,4\n")
    assert read_list(tmp_path, "list.csv") == [
        ListedVideo("a/1.mp4", ("run",), "g1"),
        ListedVideo("a/2.mp4", ("jump",), None),
    ]


def test_several_labels_of_a_video_are_joined_with_a_bar(tmp_path: Path) -> None:
    _write(tmp_path, "list.csv", 'path,label\na.mp4,run | jump\nb.mp4,"swim, far|run"\nc.mp4,run\n')
    listed = read_list(tmp_path, "list.csv")
    assert [video.labels for video in listed] == [("run", "jump"), ("swim, far", "run"), ("run",)]
    names = class_names_of(listed)
    labeled = label_videos(listed, names, group_pattern=None, source="list.csv")
    assert names == ("jump", "run", "swim, far")
    assert [video.labels for video in labeled] == [(1, 0), (2, 1), (1,)]
    assert [video.label for video in labeled] == [1, 2, 1]


def test_a_class_named_twice_by_name_and_number_counts_once() -> None:
    (video,) = label_videos([ListedVideo("a", ("1", "run"))], ("jump", "run"), group_pattern=None, source="list")
    assert video.labels == (1,)


@pytest.mark.parametrize("numbers", [(" 1", " 2"), ("", "")])
def test_ucf_lists_take_the_class_from_the_folder(numbers: tuple[str, str], tmp_path: Path) -> None:
    text = f"Run/v_Run_g01_c01.avi{numbers[0]}\n\nJump/v Jump 2.avi{numbers[1]}\n"
    _write(tmp_path, "trainlist01.txt", text)
    assert read_list(tmp_path, "trainlist01.txt") == [
        ListedVideo("Run/v_Run_g01_c01.avi", ("Run",)),
        ListedVideo("Jump/v Jump 2.avi", ("Jump",)),
    ]


def test_class_folders_are_read_in_order_and_other_files_are_not_videos(tmp_path: Path) -> None:
    for name in ("Run/b.mp4", "Run/a.AVI", "Jump/sub/c.webm", "Run/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "list.csv").touch()
    assert [(v.path, *v.labels) for v in read_list(tmp_path, "folders")] == [
        ("Jump/sub/c.webm", "Jump"),
        ("Run/a.AVI", "Run"),
        ("Run/b.mp4", "Run"),
    ]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("other.csv", None, "expected a list at .*other.csv, found no file"),
        ("list.csv", "path,label\n", "expected at least one video, found none"),
        ("list.txt", "", "expected at least one video, found none"),
        ("list.csv", "path,label\na.mp4,x\na.mp4,y\n", "a.mp4 is listed twice"),
        ("list.csv", "file,class\na.mp4,x\n", r"columns path,label\[,group\], found \['file', 'class'\]"),
        ("list.csv", "path,label\na.mp4,\n", "line 2: expected a path and a label"),
        ("list.csv", "path,label\na.mp4,x|\n", "line 2: expected labels joined with '|', .* none empty, found 'x|'"),
        ("list.csv", "path,label\na.mp4,x|y|x\n", "each once"),
        ("list.txt", "a.mp4\n", "line 1: expected <Class>/<video>"),
    ],
)
def test_a_wrong_list_is_refused_in_words(name: str, text: str | None, message: str, tmp_path: Path) -> None:
    if text is not None:
        _write(tmp_path, name, text)
    with pytest.raises(ValueError, match=message):
        read_list(tmp_path, name)


def test_a_root_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data\.root: expected a folder"):
        read_list(tmp_path / "nowhere", "folders")


@pytest.mark.parametrize("text", ["1 Run\n2 Jump High\n", "Run\nJump High\n"])
def test_class_files_with_and_without_numbers(text: str, tmp_path: Path) -> None:
    assert read_class_names(_write(tmp_path, "classInd.txt", text) / "classInd.txt") == ("Run", "Jump High")


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "found none"), ("Run\nRun\n", "'Run' twice"), ("0 Run\n1 Jump\n", "numbered 1 to 2 in order")],
)
def test_wrong_class_files_are_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        read_class_names(_write(tmp_path, "classes.txt", text) / "classes.txt")


def test_class_names_are_sorted_labels_or_numbers() -> None:
    assert class_names_of([ListedVideo("1", ("b",)), ListedVideo("2", ("a",))]) == ("a", "b")
    assert class_names_of([ListedVideo("1", ("10",)), ListedVideo("2", ("2",))]) == tuple(map(str, range(11)))


def test_a_label_outside_the_classes_is_named_with_the_nearest() -> None:
    listed = [ListedVideo("a/1.mp4", ("Juping",))]
    with pytest.raises(ValueError, match=r"a/1.mp4 has the label 'Juping', .* none of the 2 classes; .*'Jumping'"):
        label_videos(listed, ("Running", "Jumping"), group_pattern=None, source="list.csv")
    with pytest.raises(ValueError, match="label '2'"):
        label_videos([ListedVideo("a", ("2",))], ("Running", "Jumping"), group_pattern=None, source="list.csv")


def test_groups_come_from_the_pattern_then_the_column_then_the_video() -> None:
    listed = [ListedVideo("v_g07_c1", ("x",), "column"), ListedVideo("v_g08_c1", ("x",))]

    def groups(pattern: str | None) -> list[str]:
        return [v.group for v in label_videos(listed, ("x",), group_pattern=pattern, source="list")]

    assert groups(r"_g(\d+)_") == ["07", "08"]
    assert groups(None) == ["column", "v_g08_c1"]
    with pytest.raises(ValueError, match=r"_group\(\\d\+\)_ to find .* none in 2 of 2: v_g07_c1, v_g08_c1; let it"):
        groups(r"_group(\d+)_")
    with pytest.raises(ValueError, match="expected a pair of parentheses"):
        groups(r"_g\d+_")
