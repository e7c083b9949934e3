from __future__ import annotations

import os
from pathlib import Path

import pytest

from dali_pipes.regular_files import check_kept_files, file_is_there


def _make(kind: str, path: Path) -> None:
    if kind == "a pipe, socket or device":
        os.mkfifo(path)
    elif kind == "a folder":
        path.mkdir()
    else:
        path.symlink_to("nowhere" if kind == "a link to nothing" else path.name)


def test_a_file_a_link_to_one_and_nothing_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "b").symlink_to("a")
    found = [file_is_there(tmp_path / name, "a list", advice="mend it") for name in ("a", "b", "c", "a/c")]
    assert found == [True, True, False, False]


@pytest.mark.parametrize("kind", ["a pipe, socket or device", "a folder", "a link to nothing", "a link to itself"])
def test_what_is_no_file_is_named(kind: str, tmp_path: Path) -> None:
    _make(kind, tmp_path / "x")
    found = kind.replace("itself", "nothing")
    with pytest.raises(ValueError, match=rf"x: expected a list, found {found}; mend it\."):
        file_is_there(tmp_path / "x", "a list", advice="mend it")


def test_a_pipe_among_kept_files_is_named(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "rows.npy").touch()
    check_kept_files(tmp_path)
    os.mkfifo(tmp_path / "train" / "paths.npy")
    with pytest.raises(ValueError, match=r"found something else at train/paths\.npy"):
        check_kept_files(tmp_path)
