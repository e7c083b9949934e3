"""Where the lists of a transcode go: never onto a given file or each other, and to the path that a config names."""

from __future__ import annotations

from pathlib import Path

import pytest

from dali_pipes.transcode.encode import OutputSettings
from dali_pipes.transcode.job import GivenLists, plan
from dali_pipes.transcode.list_places import check_places, place_of


@pytest.fixture()
def roots(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("old/lists", "new", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path / "old", tmp_path / "new"


def test_a_list_in_the_new_root_is_refused_before_anything_is_written(roots: tuple[Path, Path]) -> None:
    old, new = roots
    (old / "a.avi").touch()
    given = new / "train.csv"
    given.write_text("path,label\na.avi,x\n")
    with pytest.raises(ValueError, match=r"train.csv, would be replaced by the new .*; move it out of .*new"):
        plan(old, new, OutputSettings(), given=GivenLists((given,)))
    assert given.read_text() == "path,label\na.avi,x\n" and list(new.iterdir()) == [given]


def test_a_list_that_would_replace_another_given_file_is_refused(roots: tuple[Path, Path]) -> None:
    old, new = roots
    for file in (old / "list.csv", new / "list.csv"):
        file.touch()
    with pytest.raises(ValueError, match="would be replaced"):
        check_places(old, new, [Path("list.csv")], [new / "list.csv"])


def test_classes_that_lie_in_the_new_root_already_stay(roots: tuple[Path, Path]) -> None:
    old, new = roots
    (new / "classes.txt").touch()
    check_places(old, new, [], [new / "classes.txt"])


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ("lists/train.csv", "lists/train.csv"),
        ("./lists/../train.csv", "train.csv"),
        ("{old}/lists/train.csv", "lists/train.csv"),
        ("{link}/lists/train.csv", "lists/train.csv"),  # the same root by another name
        ("linked/train.csv", "linked/train.csv"),  # as a config names it
        ("train.csv", "train.csv"),
        ("{elsewhere}/train_v2.csv", "train_v2.csv"),
        ("../elsewhere/train_v2.csv", "train_v2.csv"),
    ],
)
def test_a_list_keeps_the_path_that_a_config_names(given: str, place: str, roots: tuple[Path, Path]) -> None:
    old, new = roots
    folders = {name: old.parent / name for name in ("old", "link", "elsewhere")}
    folders["link"].symlink_to(old)
    (old / "linked").symlink_to(folders["elsewhere"])
    (old / "train_v2.csv").touch()
    (old / "train.csv").symlink_to("train_v2.csv")
    assert place_of(old, new, Path(given.format(**folders))) == new / place


def test_a_relative_root_holds_a_list_with_an_absolute_path(
    roots: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    old, _ = roots
    monkeypatch.chdir(old.parent)
    assert place_of(Path("old"), Path("new"), old / "lists" / "train.csv") == Path("new/lists/train.csv")


def test_two_lists_of_one_name_are_refused_and_one_given_twice_is_not(roots: tuple[Path, Path]) -> None:
    old, new = roots
    folds = [old.parent / "elsewhere" / fold / "list.csv" for fold in ("fold1", "fold2")]
    for file in folds:
        file.parent.mkdir()
        file.touch()
    with pytest.raises(ValueError, match=r"fold1/list.csv and .*fold2/list.csv would both become .*new/list.csv"):
        check_places(old, new, folds, [])
    with pytest.raises(ValueError, match="would both become"):
        check_places(old, new, folds[:1], folds[:1])  # a list is rewritten, a file of classes is not
    check_places(old, new, [folds[0], folds[0]], [])
