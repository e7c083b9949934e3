"""From a checkpoint to files that other programs run, and one such program."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from dali_pipes.features.quantization import dequantize
from reskd.cli import run_tool
from reskd.commands import export, predict
from reskd.inference import export as formats
from reskd.inference.export import load_exported_student
from reskd.inference.student import describe_student, load_trained_student
from tests.conftest import SHARED_DATA, numbered_clip
from tests.dali_pipes.shown_pictures import Storing, write_shown
from tests.tiny_student import CLASSES, SHRUNK_VIEWS, write_checkpoint, write_feature_checkpoint

EXAMPLE = Path(__file__).parents[3] / "docs/examples/run_onnx.py"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("run") / "last.pt", data=SHRUNK_VIEWS)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return numbered_clip(tmp_path_factory.mktemp("clips") / "a.mp4", "libx264", 11, height=90, width=140)


def test_a_checkpoint_becomes_files_that_were_compared_with_it(
    checkpoint: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(checkpoint), "--out", str(tmp_path / "out"), "--format", "safetensors", "torch_export"]
    assert run_tool(export.main, [*arguments, "--clips", str(clip)]) == 0
    out, err = capsys.readouterr()
    assert "comparing on random and real clips, 1 and 7 at once" in err
    assert out.count("of the student's") == 2 and "done: " in out
    about = json.loads((tmp_path / "out" / "config.json").read_text())
    assert about["class_names"] == list(CLASSES)
    assert about["input"]["shape"] == ["N", 2, 40, 48, 3]
    assert about["resize"]["sizes"] == [[64, 72], [40, 48]]
    assert about["pixel_aspect"] == "display"
    assert about["frames"] == {"kind": "segments", "at": [1, 5], "of": 8}
    state = torch.load(checkpoint, weights_only=True)["student"]
    rebuilt = load_exported_student(tmp_path / "out" / "student.safetensors").state_dict()
    assert rebuilt.keys() == state.keys() and all(torch.equal(rebuilt[name], state[name]) for name in state)


def test_a_checkpoint_of_before_the_pixel_aspect_keeps_the_pictures_that_it_was_trained_on(
    checkpoint: Path, tmp_path: Path
) -> None:
    state = torch.load(checkpoint, weights_only=True)
    del state["config"]["data"]["pixel_aspect"]
    torch.save(state, tmp_path / "last.pt")
    student = load_trained_student(tmp_path / "last.pt", torch.device("cpu"))
    assert student.config.clips.pixel_aspect == describe_student(student)["pixel_aspect"] == "stored"


@pytest.mark.parametrize("extracted", [True, False])
def test_a_student_of_features_says_how_its_bytes_are_made(extracted: bool, tmp_path: Path) -> None:
    settings = {"weights_sha256": "ab", "frames_a_second": 1.0, "scaling": "each frame's"}
    if extracted:
        whole = {"settings": settings | {"origin": {"weights": "secret/last.pt"}}, "measured": {}}
        (tmp_path / "features.json").write_text(json.dumps(whole))
    student = load_trained_student(write_feature_checkpoint(tmp_path / "last.pt", root=tmp_path), torch.device("cpu"))
    about = describe_student(student)
    assert about["input"]["shape"] == ["N", 4, 6] and about["groups"] == [["rgb", 6]]
    assert about["frames"] == {"selection": "uniform", "num_frames": 4, "max_frames": 8}
    values = {"byte": np.arange(256)}
    dequantized = eval(about["quantisation"]["value"], values)
    np.testing.assert_allclose(dequantized, dequantize(np.arange(256, dtype=np.uint8)), atol=1e-6)
    formula, _, _ = about["quantisation"]["byte"].partition(", at least 0")
    assert (eval(formula, {"round": np.round, "value": dequantized}) == np.arange(256)).all()
    assert about.get("extraction") == (settings if extracted else None)


def test_a_made_clip_stands_in_for_videos_that_are_not_here(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_tool(export.main, [str(checkpoint), "--out", str(tmp_path), "--format", "torch_export"]) == 0
    err = capsys.readouterr().err
    assert "none of the checkpoint's videos is here: using a synthetic clip" in err
    assert "comparing on random and made clips" in err


def test_a_file_that_answers_otherwise_ends_in_an_error(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "_open", lambda name, path: lambda frames: torch.zeros(len(frames), len(CLASSES)))
    assert run_tool(export.main, [str(checkpoint), "--out", str(tmp_path), "--format", "torch_export"]) == 1
    out, err = capsys.readouterr()
    assert "error: torch_export: expected the student's logits to 0.0001" in err and "done" not in out
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_clips_that_cannot_be_read_are_named(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(checkpoint), "--out", str(tmp_path / "out"), "--format", "torch_export", "--clips", "none.mp4"]
    assert run_tool(export.main, arguments) == 1
    assert "--clips: expected videos, found none that can be read in none.mp4" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# ------------------------------------------------------------------ docs/examples/run_onnx.py


def test_the_example_is_short_and_needs_three_packages() -> None:
    tree = ast.parse(EXAMPLE.read_text())
    docstring, *_ = tree.body
    lines = EXAMPLE.read_text().splitlines()[docstring.end_lineno :]
    assert len([line for line in lines if line.strip()]) <= 22
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert imported == {"json", "sys", "av", "numpy", "onnxruntime"}
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]


@pytest.fixture(scope="module")
def onnx_file(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason="needs the extra [export]")
    folder = tmp_path_factory.mktemp("onnx")
    assert run_tool(export.main, [str(checkpoint), "--out", str(folder), "--format", "onnx"]) == 0
    return folder / "student.onnx"


def wide_pixels(made: Path) -> Path:
    return write_shown(made.with_name("wide.mp4"), Storing(90, 140, pixel_aspect=Fraction(16, 11)), num_frames=11)


def real_clip(_: Path) -> Path:
    clips = sorted((SHARED_DATA / "ucf10").rglob("*.avi"))
    if not clips:
        pytest.skip("the shared data are not here")
    return clips[0]


@pytest.mark.slow
@pytest.mark.parametrize("choose", [lambda made: made, wide_pixels, real_clip], ids=["made", "wide pixels", "real"])
def test_the_example_answers_as_predict_does(
    choose: Callable[[Path], Path],
    onnx_file: Path,
    checkpoint: Path,
    clip: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    video = choose(clip)
    command = [sys.executable, str(EXAMPLE), str(onnx_file), str(video)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    found = [ast.literal_eval(line) for line in done.stdout.splitlines()]
    assert run_tool(predict.main, [str(checkpoint), str(video), "--json"]) == 0
    expected = json.loads(capsys.readouterr().out)["answers"]
    assert [name for _, name in found] == [answer["class"] for answer in expected]
    # Not a pixel differs; a level in an eighth of them moved a trained student's logits by up to 5e-3.
    assert [logit for logit, _ in found] == pytest.approx([answer["logit"] for answer in expected], abs=1e-5)
