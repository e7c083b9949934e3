"""Exported students answer as the student does, for every family; what does not is not left behind."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import safetensors
import torch
from safetensors.torch import save_file
from torch import Tensor

from reskd.choices import ExportFormat
from reskd.inference import export
from reskd.inference.export import ExportedFile, Refusal, export_student, load_exported_student
from reskd.models.config import parse_recognizer
from reskd.models.families.registry import build_recognizer
from reskd.models.recognizer import Recognizer
from reskd.outputs import RecognizerOutput

NUM_FRAMES, NUM_CLASSES = 4, 5
FAMILIES: Mapping[str, dict[str, Any]] = {
    "tsn": {"family": "tsn", "backbone": "resnet18"},
    "tsm": {"family": "tsm", "backbone": "resnet50"},
    "slow_only": {"family": "slow_only", "backbone": "resnet50"},
    "swin": {"family": "swin", "backbone": "swin3d_t"},
    "swin, masked": {"family": "swin", "backbone": "swin3d_t", "window": "masked"},
}


def make_student(**settings: Any) -> Recognizer:
    torch.manual_seed(0)
    # Logits of about one: the difference that is allowed is an absolute one.
    model = build_recognizer(parse_recognizer({"head_init_std": 0.02, **settings}), NUM_CLASSES)
    return model.eval()


def shortened(model: Recognizer) -> Recognizer:
    """The same operators in fewer blocks, for time: one in each stage of a ResNet; two, one of them with shifted
    windows, in the first and the last stage of a Swin, so on its largest and its smallest map."""
    parts = dict(model.backbone.named_children())
    for name in ("layer1", "layer2", "layer3", "layer4"):
        if name in parts:
            del parts[name][1:]
    if "features" in parts:
        first, _, second, _, third, *_ = parts["features"]
        assert len(first) == 2
        del second[:], third[:]
    return model


def noise(num_clips: int, size: int = 40) -> Tensor:
    torch.manual_seed(num_clips)
    return torch.randint(0, 256, (num_clips, NUM_FRAMES, size, size, 3), dtype=torch.uint8)


def exported(model: Recognizer, folder: Path, *formats: ExportFormat, size: int = 40) -> list[ExportedFile | Refusal]:
    about = {"class_names": [str(number) for number in range(NUM_CLASSES)]}
    shape, clips = (NUM_FRAMES, size, size), {"random": (noise(7, size),)}
    return list(export_student(model, shape, folder, formats=formats, about=about, clips=clips))


# One size each but of Swin, whose way to ONNX depends on which of its windows shrink; masked ones take 20 s.
CASES = [("tsn", 112), ("tsm", 56), ("slow_only", 56), ("swin", 112), ("swin", 56), ("swin, masked", 56)]


@pytest.mark.slow
@pytest.mark.parametrize(("family", "size"), CASES)
def test_onnx_runtime_answers_as_eager_does(family: str, size: int, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra [export]")
    pytest.importorskip("onnxscript", reason="needs the extra [export]")
    model = shortened(make_student(**FAMILIES[family]))
    (found,) = exported(model, tmp_path, "onnx", size=size)
    assert isinstance(found, ExportedFile), found
    session = onnxruntime.InferenceSession(found.path)
    (frames,), (logits,) = session.get_inputs(), session.get_outputs()
    assert (frames.name, frames.type, frames.shape[1:]) == ("frames", "tensor(uint8)", [NUM_FRAMES, size, size, 3])
    assert (logits.name, logits.type, logits.shape[1:]) == ("logits", "tensor(float)", [NUM_CLASSES])
    for num_clips in (1, 7, 3):
        frames_NTHWC = noise(num_clips, size)
        with torch.no_grad():
            expected_NK = model(frames_NTHWC).logits_NK
        (found_NK,) = session.run(None, {"frames": frames_NTHWC.numpy()})
        assert expected_NK.abs().max() > 0.05
        torch.testing.assert_close(torch.from_numpy(found_NK), expected_NK, rtol=0, atol=1e-4)


@pytest.mark.parametrize("family", ["tsn", pytest.param("swin", marks=pytest.mark.slow)])
def test_an_exported_program_takes_any_number_of_clips(family: str, tmp_path: Path) -> None:
    model = shortened(make_student(**FAMILIES[family]))
    (found,) = exported(model, tmp_path, "torch_export")
    assert isinstance(found, ExportedFile), found
    about = {"reskd": ""}
    program = torch.export.load(found.path, extra_files=about).module()
    assert json.loads(about["reskd"])["class_names"] == ["0", "1", "2", "3", "4"]
    for num_clips in (1, 5):
        with torch.no_grad():
            torch.testing.assert_close(program(noise(num_clips)), model(noise(num_clips)).logits_NK, rtol=0, atol=1e-4)


FEATURES = {"family": "features", "groups": {"rgb": 6, "audio": 4}, "classifier": {"kind": "mixture_of_experts"}}
AGGREGATORS = {
    "h_rnn": {"kind": "h_rnn", "block_length": 3, "hidden_dim": 8},
    "nextvlad": {"kind": "nextvlad", "num_clusters": 4, "num_splits": 4, "hidden_dim": 8},
}


def need_onnx_of_lstms() -> None:
    pytest.importorskip("onnxscript", reason="needs the extra [export]")
    if torch.__version__.startswith("2.6."):
        pytest.skip("torch 2.6 writes an LSTM that squeezes its batch away, which is refused")


@pytest.mark.parametrize(
    ("aggregator", "formats"),
    [
        ("h_rnn", ("safetensors", "torch_export")),
        pytest.param("nextvlad", ("safetensors", "torch_export"), marks=pytest.mark.slow),
        pytest.param("h_rnn", ("onnx",), marks=pytest.mark.slow),
        pytest.param("nextvlad", ("onnx",), marks=pytest.mark.slow),
    ],
)
def test_students_of_features_are_exported_with_their_masks(
    aggregator: str, formats: tuple[ExportFormat, ...], tmp_path: Path
) -> None:
    if "onnx" in formats:
        need_onnx_of_lstms()
    torch.manual_seed(0)
    config = parse_recognizer(FEATURES | {"aggregator": AGGREGATORS[aggregator]})
    model = build_recognizer(config, NUM_CLASSES).eval()
    features_NTD = torch.randint(0, 256, (7, NUM_FRAMES, 10), dtype=torch.uint8)
    valid_NT = torch.arange(NUM_FRAMES) < torch.tensor([4, 2, 0, 1, 3, 4, 2])[:, None]
    found = export_student(
        model,
        (NUM_FRAMES, 10),
        tmp_path,
        formats=formats,
        about={"class_names": list("abcde")},
        clips={"random": (features_NTD, valid_NT)},
    )
    assert all(isinstance(file, ExportedFile) for file in found)
    if "safetensors" in formats:
        assert load_exported_student(tmp_path / "student.safetensors").config == config


@pytest.mark.slow
def test_an_aggregated_student_is_exported_with_the_mask_of_its_frames(tmp_path: Path) -> None:
    need_onnx_of_lstms()
    torch.manual_seed(0)
    settings = {"family": "aggregated", "backbone": "resnet18", "classifier": {"kind": "linear", "init_std": 1.0}}
    model = build_recognizer(parse_recognizer(settings | {"aggregator": AGGREGATORS["h_rnn"]}), NUM_CLASSES).eval()
    frames_NTHWC = noise(7)
    valid_NT = torch.rand(frames_NTHWC.shape[:2]) < 0.5
    assert not torch.allclose(model(frames_NTHWC, valid_NT).logits_NK, model(frames_NTHWC).logits_NK, atol=1e-3)
    found = export_student(
        shortened(model),
        tuple(frames_NTHWC.shape[1:4]),
        tmp_path,
        formats=("torch_export", "onnx"),
        about={"class_names": list("abcde")},
        clips={"random": (frames_NTHWC, valid_NT)},
    )
    assert [type(file) for file in found] == [ExportedFile, ExportedFile]


def test_safetensors_hold_the_student_alone_and_rebuild_it(tmp_path: Path) -> None:
    model = make_student(backbone="mobilenet_v2", pixel_mean=(1.0, 2.0, 3.0))
    (found,) = exported(model, tmp_path, "safetensors")
    assert isinstance(found, ExportedFile) and found.difference == 0
    with safetensors.safe_open(found.path, "pt") as file:
        assert set(file.keys()) == set(model.state_dict())
    rebuilt = load_exported_student(found.path)
    assert rebuilt.config == model.config and not rebuilt.training
    with torch.no_grad():
        torch.testing.assert_close(rebuilt(noise(1)).logits_NK, model(noise(1)).logits_NK, rtol=0, atol=0)


@pytest.mark.parametrize("at", [-1, -4000, 300])
def test_a_flipped_bit_in_exported_weights_is_noticed(at: int, tmp_path: Path) -> None:
    (found,) = exported(make_student(backbone="mobilenet_v2"), tmp_path, "safetensors")
    assert isinstance(found, ExportedFile)
    data = bytearray(found.path.read_bytes())
    data[at] ^= 1
    found.path.write_bytes(data)
    # The header's entries are in no fixed order, so what the bit at 300 is part of differs from one export to the next.
    with pytest.raises(ValueError, match=r"student.safetensors: expected .*(digest|cannot be read|SHA256SUMS)"):
        load_exported_student(found.path)


def test_every_exported_file_has_a_checksum(tmp_path: Path) -> None:
    exported(make_student(backbone="mobilenet_v2"), tmp_path, "safetensors")
    checked = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=tmp_path, capture_output=True, text=True)
    assert checked.stdout.splitlines() == ["config.json: OK", "student.safetensors: OK"] and checked.returncode == 0


def test_a_config_that_was_changed_beside_its_student_is_noticed(tmp_path: Path) -> None:
    (found,) = exported(make_student(backbone="mobilenet_v2"), tmp_path, "safetensors")
    assert isinstance(found, ExportedFile)
    about = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(about.replace("{", "{ ", 1))
    with pytest.raises(ValueError, match=r"config.json: expected the bytes that SHA256SUMS says, found others"):
        load_exported_student(found.path)
    (tmp_path / "config.json").unlink()
    assert load_exported_student(found.path).config.family == "tsn"


@pytest.mark.parametrize("error", [2e-4, float("nan"), float("inf")])
def test_a_file_that_answers_otherwise_is_not_left_behind(
    error: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = shortened(make_student(backbone="resnet18"))
    monkeypatch.setattr(export, "_open", lambda name, path: lambda frames: model(frames).logits_NK + error)
    (found,) = exported(model, tmp_path, "torch_export")
    assert isinstance(found, Refusal)
    assert re.fullmatch(
        r"torch_export: expected the student's logits to 0.0001, found a difference of (0.0002|nan|inf) on random "
        r"clips, 1 at once \(logits up to [\d.]+\); the file is deleted\.",
        found.reason,
    )
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_what_cannot_be_exported_is_refused_in_a_sentence_and_the_rest_is_written(tmp_path: Path) -> None:
    class Choosy(Recognizer):
        def forward(self, frames_NTHWC: Tensor) -> RecognizerOutput:
            output = super().forward(frames_NTHWC)
            return super().forward(frames_NTHWC) if output.logits_NK.max() > 1e9 else output

    model = make_student(backbone="resnet18")
    model.__class__ = type("ChoosyFrames", (Choosy, type(model)), {})
    written, refused = exported(model, tmp_path, "torch_export", "safetensors")
    assert isinstance(written, ExportedFile) and written.format == "safetensors"
    assert isinstance(refused, Refusal) and "\n" not in refused.reason
    assert re.match(r"torch_export: torch [\d.]+\S* cannot export a student of the family tsn", refused.reason)
    assert {path.name for path in tmp_path.iterdir()} == {"SHA256SUMS", "config.json", "student.safetensors"}


def test_a_second_export_leaves_nothing_of_the_first(tmp_path: Path) -> None:
    for name in export.FILE_NAMES.values():
        (tmp_path / name).write_text("old")
    exported(shortened(make_student(backbone="resnet18")), tmp_path, "torch_export")
    assert {path.name for path in tmp_path.iterdir()} == {"SHA256SUMS", "config.json", "student.pt2"}


def test_a_missing_package_is_named_before_anything_is_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_onnx(name: str) -> Any:
        if name.startswith("onnx"):
            raise ModuleNotFoundError(name)
        return importlib.__import__(name)

    monkeypatch.setattr(export.importlib, "import_module", without_onnx)
    (tmp_path / "student.pt2").write_text("old")
    with pytest.raises(ValueError, match=r"onnx: expected the package onnx, found none; pip install 'reskd\[export\]'"):
        exported(make_student(backbone="resnet18"), tmp_path, "torch_export", "onnx")
    assert (tmp_path / "student.pt2").read_text() == "old"


def test_weights_that_were_not_exported_are_refused(tmp_path: Path) -> None:
    save_file({"head.weight": torch.zeros(2, 2)}, tmp_path / "bare.safetensors")
    with pytest.raises(ValueError, match="expected an exported student, found weights without settings"):
        load_exported_student(tmp_path / "bare.safetensors")
    with pytest.raises(FileNotFoundError, match="found none"):
        load_exported_student(tmp_path / "none.safetensors")
