"""From a checkpoint to files that other programs run, and one such program."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from dali_pipes.features.quantization import dequantize
from reskd.cli import run_tool
from reskd.commands import export
from reskd.inference import export as formats
from reskd.inference.clients import run_onnx
from reskd.inference.export import load_exported_student
from reskd.inference.student import describe_student, load_trained_student
from reskd.models.weights.files import read_weight_file
from tests.conftest import numbered_clip
from tests.tiny_student import CLASSES, SHRUNK_VIEWS, write_checkpoint, write_feature_checkpoint


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
    rule = "k * n // of for each k in at, in a video of n frames"
    assert about["frames"] == {"kind": "segments", "at": [1, 5], "of": 8, "rule": rule}
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


def test_files_with_weights_do_not_say_where_initial_ones_came_from(
    checkpoint: Path, clip: Path, tmp_path: Path
) -> None:
    """ "weights": "none" would read as if a file of trained weights had none."""
    arguments = [str(checkpoint), "--out", str(tmp_path), "--format", "safetensors", "--clips", str(clip)]
    assert run_tool(export.main, arguments) == 0
    of_config = json.loads((tmp_path / "config.json").read_text())["student"]
    of_file = read_weight_file(tmp_path / "student.safetensors").settings
    assert of_config == of_file and not {"weights", "weights_head"} & of_config.keys()
    assert of_config["backbone"] == "resnet18"


@pytest.mark.slow
def test_onnx_has_its_program_beside_it_and_the_next_export_removes_it(
    checkpoint: Path, clip: Path, tmp_path: Path
) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason="needs the extra [export]")
    arguments = [str(checkpoint), "--out", str(tmp_path), "--clips", str(clip), "--format"]
    assert run_tool(export.main, [*arguments, "onnx"]) == 0
    assert (tmp_path / "run_onnx.py").read_bytes() == Path(run_onnx.__file__).read_bytes()
    assert "run_onnx.py" not in (tmp_path / "SHA256SUMS").read_text()  # a user may change it
    assert run_tool(export.main, [*arguments, "safetensors"]) == 0
    assert not (tmp_path / "run_onnx.py").exists()
