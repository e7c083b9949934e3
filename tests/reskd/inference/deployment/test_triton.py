"""The repository for Triton: its parts answer as the student does, and its configs are what Triton parses."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from dali_pipes.loader.cpu_render import RenderPlan
from dali_pipes.sampling.crops import center_crop
from reskd.cli import run_tool
from reskd.commands import export
from reskd.inference.deployment import triton
from reskd.inference.deployment.quantization import open_session
from reskd.inference.student import load_trained_student
from tests.tiny_student import CLASSES, write_feature_checkpoint

for package in ("onnx", "onnxscript", "onnxruntime", "nvidia.dali"):
    pytest.importorskip(package, reason="needs the extras [export] and [cuda12]")


def test_the_repository_has_triton_s_layout(exported: Path) -> None:
    found = {path.relative_to(exported / "triton").as_posix() for path in (exported / "triton").rglob("*")}
    assert found == {
        *("reskd", "reskd/1", "reskd/config.pbtxt", "reskd/labels.txt"),
        *(f"reskd_preprocessing{name}" for name in ("", "/1", "/1/model.dali", "/config.pbtxt")),
        *(f"reskd_student{name}" for name in ("", "/1", "/1/model.onnx", "/config.pbtxt", "/labels.txt")),
    }
    assert (exported / "triton/reskd/labels.txt").read_text().split() == list(CLASSES)
    assert (exported / "triton/reskd_student/1/model.onnx").read_bytes() == (exported / "student.onnx").read_bytes()


def test_the_chain_answers_as_the_student_does(checkpoint: Path, exported: Path) -> None:
    student = load_trained_student(checkpoint, torch.device("cpu"))
    found = triton.check_repository(student, exported / "triton")
    assert found.levels <= 2 and found.mean_levels < 0.3
    assert found.same_view < 1e-5 and found.whole < 0.05


@pytest.mark.parametrize("aspect", [1.0, 72 / 64])
@pytest.mark.parametrize("ratio", [0.875, 1.0, 0.8])
def test_dali_crops_as_the_loader_does(aspect: float, ratio: float, tmp_path: Path) -> None:
    """A crop that is off by a pixel moves a ramp by two levels; small pictures have the most ties of rounding."""
    generator = np.random.default_rng(0)
    sizes = [tuple(map(int, size)) for size in generator.integers(3, 120, (24, 2))]
    ramps = [2 * np.stack([*np.indices(size), np.zeros(size, int)], axis=-1) for size in sizes]
    clips = [np.stack([ramp, 255 - ramp]).astype(np.uint8) for ramp in ramps]
    steps = triton.ViewSteps(aspect, ratio, ((40, 48),))
    triton.write_pipeline(steps, tmp_path / "model.dali", max_batch_size=24)
    render = RenderPlan(None, (40, 48), False, None, ("student",))
    rules: Any = SimpleNamespace(view_aspect=aspect, center_ratio=ratio)
    for clip, view in zip(clips, triton.run_pipeline(tmp_path / "model.dali", clips), strict=True):
        y, x, height, width = center_crop(rules, (), *clip.shape[1:3])
        cut = [frame[y : y + height, x : x + width] for frame in clip]
        expected = render.render(cut, student_frames=[0, 1], flip=False)["student"]
        levels = np.abs(view.astype(int) - expected.astype(int))
        assert levels.mean() < 0.4, clip.shape


def parsed(text: str) -> Any:
    model_config = pytest.importorskip("tritonclient.grpc.model_config_pb2", reason="needs tritonclient[grpc]")
    text_format = pytest.importorskip("google.protobuf.text_format")
    return text_format.Parse(text, model_config.ModelConfig())


def test_the_configs_parse_as_triton_s_and_fit_together(exported: Path) -> None:
    ensemble, preprocessing, student = (
        parsed((exported / "triton" / name / "config.pbtxt").read_text())
        for name in (triton.ENSEMBLE, triton.PREPROCESSING, triton.STUDENT)
    )
    assert (ensemble.platform, preprocessing.backend, student.backend) == ("ensemble", "dali", "onnxruntime")
    assert list(ensemble.input[0].dims) == list(preprocessing.input[0].dims) == [2, -1, -1, 3]
    assert list(preprocessing.output[0].dims) == list(student.input[0].dims) == [2, 40, 48, 3]
    assert list(ensemble.output[0].dims) == list(student.output[0].dims) == [3]
    first, second = ensemble.ensemble_scheduling.step
    assert (first.model_name, second.model_name) == (preprocessing.name, student.name)
    assert dict(first.input_map) == {preprocessing.input[0].name: ensemble.input[0].name}
    assert dict(second.input_map) == {student.input[0].name: dict(first.output_map)[preprocessing.output[0].name]}
    assert dict(second.output_map) == {student.output[0].name: ensemble.output[0].name}


def test_the_student_s_config_names_the_inputs_of_its_file(exported: Path) -> None:
    _, names = open_session(exported / "student.onnx", num_threads=1)
    text = (exported / "triton" / triton.STUDENT / "config.pbtxt").read_text()
    assert all(f'name: "{name}"' in text for name in (*names, "logits"))
    assert json.loads((exported / "config.json").read_text())["input"]["shape"] == ["N", 2, 40, 48, 3]


def test_a_student_with_a_mask_has_it_in_the_ensemble() -> None:
    texts = triton.configs((4, 40, 40), 3, takes_mask=True)
    assert '{ name: "valid" data_type: TYPE_BOOL dims: [ 4 ] }' in texts[triton.ENSEMBLE]
    assert 'input_map { key: "valid" value: "valid" }' in texts[triton.ENSEMBLE]
    assert '"valid"' in texts[triton.STUDENT] and '"valid"' not in texts[triton.PREPROCESSING]
    for text in texts.values():
        parsed(text)


def test_versions_in_lower_precision_are_models_of_their_own(checkpoint: Path, exported: Path, tmp_path: Path) -> None:
    """Any file of the same inputs stands for a version here; what it loses was compared before."""
    student = load_trained_student(checkpoint, torch.device("cpu"))
    about = json.loads((exported / "config.json").read_text())
    files = dict.fromkeys(("fp32", "int8"), exported / "student.onnx")
    found = triton.write_repository(student, files, about, tmp_path / "triton")
    assert found.lower == {"int8": 0}
    names = {path.name for path in (tmp_path / "triton").iterdir()}
    assert names == {"reskd", "reskd_int8", "reskd_preprocessing", "reskd_student", "reskd_student_int8"}
    assert (tmp_path / "triton/reskd_student_int8/1/model.onnx").is_file()
    texts = {name: (tmp_path / "triton" / name / "config.pbtxt").read_text() for name in names}
    assert 'name: "reskd_int8"' in texts["reskd_int8"] and "reskd_student_int8" in texts["reskd_int8"]
    assert "int8" not in texts["reskd"] + texts["reskd_student"] + texts["reskd_preprocessing"]
    parsed_int8 = parsed(texts["reskd_int8"])
    steps = [step.model_name for step in parsed_int8.ensemble_scheduling.step]
    assert steps == ["reskd_preprocessing", "reskd_student_int8"]


def test_a_version_without_numbers_is_refused(
    checkpoint: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = load_trained_student(checkpoint, torch.device("cpu"))
    about = json.loads((exported / "config.json").read_text())

    def opened(path: Path, *, num_threads: int) -> Any:
        session, names = open_session(path, num_threads=num_threads)
        return (lambda feed: session(feed) * (np.nan if "fp16" in str(path) else 1)), names

    monkeypatch.setattr(triton, "open_session", opened)
    files = dict.fromkeys(("fp32", "fp16"), exported / "student.onnx")
    with pytest.raises(ValueError, match="triton: expected logits that are numbers, found others in fp16"):
        triton.write_repository(student, files, about, tmp_path / "triton")
    assert not list(tmp_path.iterdir())


def test_views_that_differ_are_refused_and_nothing_is_written(
    checkpoint: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = load_trained_student(checkpoint, torch.device("cpu"))
    about = json.loads((exported / "config.json").read_text())
    about["crop"]["ratio"] = 0.7
    with pytest.raises(ValueError, match="triton: expected DALI's views within 4 levels"):
        triton.write_repository(student, {"fp32": exported / "student.onnx"}, about, tmp_path / "triton")
    assert not list(tmp_path.iterdir())


def test_the_next_export_removes_the_repository_and_no_other_folder(checkpoint: Path, tmp_path: Path) -> None:
    for name in ("reskd_preprocessing/1/model.dali", "reskd_student/config.pbtxt"):
        (tmp_path / "old/triton" / name).parent.mkdir(parents=True)
        (tmp_path / "old/triton" / name).write_text("old")
    (tmp_path / "other/triton").mkdir(parents=True)
    for name, is_kept in (("old", False), ("other", True)):
        given = [str(checkpoint), "--out", str(tmp_path / name), "--format", "safetensors"]
        assert run_tool(export.main, given) == 0
        assert (tmp_path / name / "triton").is_dir() == is_kept


def test_a_student_of_features_is_refused_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = write_feature_checkpoint(tmp_path / "last.pt", root=tmp_path)
    arguments = [str(checkpoint), "--out", str(tmp_path / "out"), "--format", "triton"]
    assert run_tool(export.main, arguments) == 1
    assert "error: triton: expected a student of videos" in capsys.readouterr().err
