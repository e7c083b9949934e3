"""--check and --calibration take the run's own videos, so that nobody writes a list."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from reskd.cli import run_tool
from reskd.commands import export
from reskd.inference.deployment.run_splits import PrecisionLists, calibration_videos, checked_videos
from reskd.inference.student import TrainedStudent, load_trained_student
from tests.tiny_student import write_checkpoint

TABLE = """path,label,group,split
a.mp4,left,1,train
b/c.mp4,right|up,2,train
d.mp4,up,3,val
e.mp4,left,4,test
"""


def run_folder(folder: Path, table: str | None = TABLE, **data: Any) -> tuple[TrainedStudent, PrecisionLists]:
    """A run in ``folder`` whose videos, empty files, are in ``folder/videos``."""
    videos = folder / "videos"
    (videos / "b").mkdir(parents=True)
    for name in ("a.mp4", "b/c.mp4", "d.mp4", "e.mp4"):
        (videos / name).touch()
    if table is not None:
        (folder / "splits.csv").write_text(table)
    path = write_checkpoint(folder / "last.pt", data={"root": str(videos), **data})
    return load_trained_student(path, torch.device("cpu")), PrecisionLists(folder)


def test_by_default_val_is_checked_and_train_calibrates(tmp_path: Path) -> None:
    student, lists = run_folder(tmp_path)
    check, calibration = checked_videos(student, lists), calibration_videos(student, lists)
    assert check.name == "split val of the run" and calibration.name == "split train of the run"
    assert [(one.file, one.labels) for one in check.files] == [(str(tmp_path / "videos/d.mp4"), {2})]
    assert [one.labels for one in calibration.files] == [{0}, {1, 2}]
    assert calibration.files[1].file == str(tmp_path / "videos/b/c.mp4")


def test_without_val_the_test_list_is_checked(tmp_path: Path) -> None:
    student, lists = run_folder(tmp_path, TABLE.replace("3,val", "3,train"))
    assert checked_videos(student, lists).name == "split test of the run"


def test_a_split_is_named_and_a_path_of_that_name_has_a_slash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    student, lists = run_folder(tmp_path)
    (tmp_path / "here").mkdir()
    (tmp_path / "here/test").write_text(f"path,label\n{tmp_path}/videos/a.mp4,left\n")
    monkeypatch.chdir(tmp_path / "here")
    named = PrecisionLists(lists.run, check="test", calibration="val")
    assert [Path(one.file).name for one in checked_videos(student, named).files] == ["e.mp4"]
    assert [Path(one.file).name for one in calibration_videos(student, named).files] == ["d.mp4"]
    assert checked_videos(student, PrecisionLists(lists.run, check="./test")).name == "test"


def test_root_is_where_the_videos_are_now(tmp_path: Path) -> None:
    student, lists = run_folder(tmp_path)
    (tmp_path / "videos").rename(tmp_path / "moved")
    assert checked_videos(student, PrecisionLists(lists.run, root=tmp_path / "moved")).files[0].file.endswith("d.mp4")
    with pytest.raises(ValueError, match=r"the 1 videos of the run's split val under .*videos, found 0.*--root"):
        checked_videos(student, lists)


@pytest.mark.parametrize(
    ("table", "data", "said"),
    [
        (None, {}, "--check: expected .*splits.csv, which reskd train writes, found no file; give a list of videos"),
        (TABLE[: TABLE.index("d.mp4")], {}, "--check: expected videos of val or test in .*, found none"),
        (TABLE.replace("up", "down"), {}, "--check: expected paths and classes of the student in .*'right|down'"),
        ("path\na.mp4\n", {}, "--check: expected paths and classes of the student"),
        (TABLE, {"storage": {"kind": "frames"}}, "found one on data.storage.kind frames; give a list of video files"),
    ],
)
def test_runs_that_have_no_such_videos_are_refused_in_a_sentence(
    table: str | None, data: dict[str, Any], said: str, tmp_path: Path
) -> None:
    student, lists = run_folder(tmp_path, table, **data)
    with pytest.raises(ValueError, match=said):
        checked_videos(student, lists)


def test_a_run_without_its_videos_is_refused_before_anything_is_quantized(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason="needs the extra [export]")
    path = write_checkpoint(tmp_path / "last.pt")
    arguments = [str(path), "--out", str(tmp_path / "out"), "--format", "onnx", "--precision", "int8"]
    assert run_tool(export.main, arguments) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert "--check: expected" in line and "splits.csv" in line
    assert not list((tmp_path / "out").glob("*int8*"))
