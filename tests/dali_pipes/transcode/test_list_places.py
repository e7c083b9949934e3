"""Where the lists of a transcode go: never onto a given file or each other, and to the path that a config names."""

from __future__ import annotations

from pathlib import Path

import pytest

from dali_pipes.transcode.encode import OutputSettings
from dali_pipes.transcode.job import GivenLists, plan
from dali_pipes.transcode.list_places import check_places


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
