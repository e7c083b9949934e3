"""A file whose name is no UTF-8 stops no command, prints as text and stays the file that it is."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dali_pipes.annotations.lists import read_list
from dali_pipes.transcode.journal import read_journals
from reskd.cli import run_tool
from reskd.commands.prepare_data import main
from tests.conftest import numbered_clip

NAME = os.fsdecode(b"caf\xe9.mp4")
BAD_NAME = os.fsdecode(b"b\xe4d.mp4")
AS_TEXT = "caf\\udce9.mp4", "b\\udce4d.mp4"
LIST = b"path,label\nRun/caf\xe9.mp4,Run\nRun/b\xe4d.mp4,Run\n"


@pytest.fixture()
def source(tmp_path: Path) -> Path:
    """Two files in the folder Run, the second of which is no video, and their list; the names are those bytes."""
    root = tmp_path / "old"
    (root / "Run").mkdir(parents=True)
    clip = numbered_clip(tmp_path / "clip.mp4", "libx264", 6)
    try:
        (root / "Run" / NAME).write_bytes(clip.read_bytes())
    except OSError:
        pytest.skip("this file system takes no name that is not UTF-8")
    (root / "Run" / BAD_NAME).write_bytes(b"no video")
    (root / "train.csv").write_bytes(LIST)
    return root


@pytest.fixture()
def prepare_data(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What a command prints; the standard output of a test is strict UTF-8, as a terminal's is."""

    def run(*arguments: str | Path) -> str:
        assert run_tool(main, list(map(str, arguments))) == 0
        return capsys.readouterr().out

    return run


def test_scan_and_describe(source: Path, tmp_path: Path, prepare_data: Callable[..., str]) -> None:
    shown = prepare_data("scan", source, "--workers", "1")
    assert f"Run/{AS_TEXT[1]}: bad: " in shown and "1 sound, 0 cut, 1 bad" in shown
    prepare_data("describe", source, "--out", tmp_path / "page", "--list", "train.csv", "--workers", "1")
    page = (tmp_path / "page" / "data.md").read_text(encoding="utf-8")
    assert "2 videos, 1 usable" in page and f"Run/{AS_TEXT[1]} |" in page


def test_transcode(source: Path, tmp_path: Path, prepare_data: Callable[..., str]) -> None:
    new = tmp_path / "new"
    command = ("transcode", source, new, "--list", "train.csv", "--workers", "1")
    shown = prepare_data(*command)
    assert "1 ok, 1 bad" in shown and f"Run/{AS_TEXT[1]}: bad" in shown
    assert (new / "Run" / NAME).is_file()
    assert (new / "train.csv").read_bytes() == LIST.splitlines(keepends=True)[0] + LIST.splitlines(keepends=True)[1]
    assert {record.path for record in read_journals(new).values()} == {f"Run/{NAME}", f"Run/{BAD_NAME}"}
    assert "0 still to do" in prepare_data(*command)


def test_import_lists_a_file_by_the_bytes_of_its_name(
    source: Path, tmp_path: Path, prepare_data: Callable[..., str]
) -> None:
    folder = source / os.fsdecode(b"K\xe4")
    folder.mkdir()
    (source / "Run" / NAME).rename(folder / "aaaaaaaaaaa_000001_000011.mp4")
    (tmp_path / "train.csv").write_text("label,youtube_id,time_start,time_end,split\nyoga,aaaaaaaaaaa,1,11,train\n")
    prepare_data(
        "import", "kinetics400", "--annotations", tmp_path / "train.csv", "--videos", source, "--out", tmp_path / "out"
    )
    assert b"\nK\xe4/aaaaaaaaaaa_000001_000011.mp4,yoga," in (tmp_path / "out" / "train.csv").read_bytes()


def test_a_list_with_labels_in_another_encoding_is_refused(source: Path) -> None:
    (source / "train.csv").write_bytes(b"path,label\na.mp4,caf\xe9\n")
    with pytest.raises(ValueError, match=r"expected labels in UTF-8, found caf\\udce9; save the file as UTF-8"):
        read_list(source, "train.csv")
