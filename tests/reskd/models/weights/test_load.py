"""Loading weights: every source, and one clear sentence for everything that does not fit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
import torchvision
from torch import Tensor

from reskd.models.config import BackboneName, TsnConfig
from reskd.models.families.pixel_recognizer import FrameRecognizer
from reskd.models.families.registry import build_recognizer
from reskd.models.weights import load as weights_module
from reskd.models.weights.load import load_recognizer_state, load_weights, state_hash

torch.set_num_threads(1)


def _model(
    backbone: BackboneName = "resnet18", *, num_classes: int = 5, seed: int = 0, **settings: Any
) -> FrameRecognizer:
    torch.manual_seed(seed)
    return build_recognizer(TsnConfig(backbone=backbone, **settings), num_classes)


def _hollow(backbone: BackboneName, *, num_classes: int = 5, **settings: Any) -> FrameRecognizer:
    """A model without memory: enough for everything that is refused before a tensor is filled."""
    with torch.device("meta"):
        return build_recognizer(TsnConfig(backbone=backbone, **settings), num_classes)


def _zeros(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same names and shapes in a file of a few bytes: every tensor repeats one zero."""
    return {name: torch.zeros((), dtype=value.dtype, device="cpu").expand(value.shape) for name, value in state.items()}


def _checkpoint(path: Path, model: FrameRecognizer) -> str:
    config = {"student": model.config.model_dump(mode="json"), "name": "x"}
    torch.save(
        {
            "schema_version": 1,
            "student": _zeros(model.state_dict()) if model.head.weight.is_meta else model.state_dict(),
            "config": config,
        },
        path,
    )
    return str(path)


@pytest.fixture(scope="module")
def resnet18_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A checkpoint of ours: resnet18, 5 classes."""
    return _checkpoint(tmp_path_factory.mktemp("weights") / "last.pt", _model(seed=3))


def test_a_checkpoint_of_ours_fills_backbone_and_head(resnet18_file: str) -> None:
    assert state_hash(_model(weights=resnet18_file)) == state_hash(_model(seed=3))


@pytest.mark.parametrize("backbone", ["resnet18", "mobilenet_v2"])
def test_a_torchvision_state_dict_fills_the_backbone_and_leaves_the_head(
    backbone: BackboneName, tmp_path: Path
) -> None:
    torch.manual_seed(3)
    network = torchvision.models.get_model(backbone, weights=None)
    torch.save(network.state_dict(), tmp_path / "file.pth")
    model = _model(backbone, weights=str(tmp_path / "file.pth"))
    for name, value in model.backbone.state_dict().items():
        assert torch.equal(value, network.state_dict()[name]), name
    assert torch.equal(model.head.weight, _model(backbone).head.weight)


def test_files_from_before_batches_were_counted_are_taken(tmp_path: Path) -> None:
    state = torchvision.models.resnet18(weights=None).state_dict()
    torch.save({k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}, tmp_path / "old.pth")
    assert torch.equal(
        _model(weights=str(tmp_path / "old.pth")).backbone.state_dict()["conv1.weight"], state["conv1.weight"]
    )


def test_a_torchvision_name_fills_the_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    network = torchvision.models.resnet18(weights=None)
    entry = torchvision.models.ResNet18_Weights
    monkeypatch.setattr(entry, "get_state_dict", lambda self, **_: network.state_dict())
    model = _model(weights="IMAGENET1K_V1")
    assert torch.equal(model.backbone.state_dict()["conv1.weight"], network.conv1.weight)


def test_a_failed_download_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: object, **_: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(torchvision.models.ResNet18_Weights, "get_state_dict", fail)
    with pytest.raises(OSError, match=r"IMAGENET1K_V1 of resnet18 from https://.*no route to host.*set weights to"):
        load_weights(_hollow("resnet18"), "IMAGENET1K_V1")


@pytest.mark.parametrize("weights", ["IMAGENET1K_V9", "nowhere/last.pt"])
def test_neither_name_nor_file_is_one_sentence(weights: str) -> None:
    with pytest.raises(FileNotFoundError, match=rf"expected 'none'.*\(IMAGENET1K_V1\).*found '{weights}'"):
        load_weights(_hollow("resnet18"), weights)


@pytest.mark.parametrize("backbone", ["resnet34", "resnet50", "mobilenet_v2"])
def test_another_architecture_is_named_on_both_sides(backbone: BackboneName, resnet18_file: str) -> None:
    message = rf"expected weights trained with backbone {backbone}, found resnet18; "
    with pytest.raises(ValueError, match=message) as caught:
        load_weights(_hollow(backbone), resnet18_file)
    assert "\n" not in str(caught.value)


def test_a_bare_state_dict_of_another_architecture_is_named(tmp_path: Path) -> None:
    with torch.device("meta"):
        torch.save(_zeros(torchvision.models.resnet50(weights=None).state_dict()), tmp_path / "r50.pth")
    message = (
        r"expected weights of resnet18, found resnet50, first difference at layer1.0.conv1.weight \(\(64, 64, 1, 1\)"
    )
    with pytest.raises(ValueError, match=message):
        load_weights(_hollow("resnet18"), str(tmp_path / "r50.pth"))


def test_other_classes_are_named(resnet18_file: str) -> None:
    model = _model(num_classes=9)
    before = state_hash(model)
    with pytest.raises(ValueError, match=r"resnet18 with 9 classes, found resnet18 with 5 classes.*head.weight"):
        load_weights(model, resnet18_file)
    assert state_hash(model) == before


def test_a_deeper_file_does_not_pass_for_a_shallower_model(tmp_path: Path) -> None:
    with torch.device("meta"):
        torch.save(_zeros(torchvision.models.resnet34(weights=None).state_dict()), tmp_path / "r34.pth")
    with pytest.raises(
        ValueError, match=r"found resnet34, first difference.*layer1.2.conv1.weight \(not in the model\)"
    ):
        load_weights(_hollow("resnet18"), str(tmp_path / "r34.pth"))


def test_unknown_tensors_are_described(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(2)}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"found 1 tensors of an unknown network \(the first is w\)"):
        load_weights(_hollow("resnet18"), str(tmp_path / "w.pth"))


@pytest.mark.parametrize(
    ("theirs", "mine", "message"),
    [
        ({"stage_strides": (1, 1, 2, 2)}, {}, r"stage_strides \[1, 2, 2, 2\], found \[1, 1, 2, 2\]"),
        ({"pixel_mean": (0, 0, 0)}, {}, "pixel_mean"),
    ],
)
def test_settings_that_leave_no_trace_in_the_weights_must_agree(
    theirs: dict[str, Any], mine: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = _checkpoint(tmp_path / "last.pt", _hollow("resnet18", **theirs))
    with pytest.raises(ValueError, match=message):
        load_weights(_hollow("resnet18", **mine), path)


def test_default_strides_written_out_agree_with_the_default(resnet18_file: str) -> None:
    load_weights(_model(stage_strides=(1, 2, 2, 2)), resnet18_file)


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file.pt").write_text("hello")
    with pytest.raises(ValueError, match="found one that cannot be read"):
        load_weights(_hollow("resnet18"), str(tmp_path / "file.pt"))


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save({"student": torch.nn.ReLU()}, tmp_path / "file.pt")
    with pytest.raises(ValueError, match="expected a file of tensors and plain values"):
        load_weights(_hollow("resnet18"), str(tmp_path / "file.pt"))


def test_load_recognizer_state_names_its_source() -> None:
    with pytest.raises(ValueError, match=r"^the checkpoint: expected weights of resnet18 with 5 classes"):
        load_recognizer_state(_hollow("resnet18"), _hollow("mobilenet_v2").state_dict(), source="the checkpoint")


def test_none_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights_module, "read_weight_file", lambda path: pytest.fail("read a file"))
    load_weights(_hollow("resnet18"), "none")


def test_hash_is_the_same_for_every_memory_format_and_order() -> None:
    state = _model().state_dict()
    contiguous = {name: value.clone(memory_format=torch.contiguous_format) for name, value in reversed(state.items())}
    assert state_hash(state) == state_hash(contiguous)
    assert len(state_hash(state)) == 64


@pytest.mark.parametrize(
    "other",
    [
        {"a": torch.zeros(2, 3), "b": torch.tensor(2)},
        {"a": torch.zeros(3, 2), "b": torch.tensor(1)},
        {"a": torch.zeros(2, 3, dtype=torch.bfloat16), "b": torch.tensor(1)},
        {"c": torch.zeros(2, 3), "b": torch.tensor(1)},
        {"a": torch.zeros(2, 3)},
        {"a": -torch.zeros(2, 3), "b": torch.tensor(1)},
    ],
)
def test_hash_sees_every_name_dtype_shape_and_bit(other: dict[str, Tensor]) -> None:
    assert state_hash({"a": torch.zeros(2, 3), "b": torch.tensor(1)}) != state_hash(other)
