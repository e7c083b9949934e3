"""Weights of other code in our networks: every tensor finds its place, or the file is refused and the model unchanged.

Whether they then answer as their makers' networks do is for tests/interop to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor

from reskd.models.config import parse_recognizer
from reskd.models.families.registry import build_recognizer
from reskd.models.recognizer import Recognizer
from reskd.models.weights.files import WeightFile
from reskd.models.weights.fill import fit
from reskd.models.weights.load import load_weights, state_hash
from tests.interop.mmaction_names import FAMILIES, Family, shapes_of

torch.set_num_threads(1)
pytestmark = pytest.mark.filterwarnings("ignore:.*copying from a non-meta parameter")
BACKBONES = {"tsn": "resnet50", "tsm": "resnet50", "slow_only": "resnet50", "swin": "swin3d_s"}
NUM_CLASSES = 5


def _hollow(family: str, *, num_classes: int = NUM_CLASSES, **settings: Any) -> Recognizer:
    """Without memory: enough to see what goes where."""
    with torch.device("meta"):
        return _built(family, num_classes=num_classes, **settings)


def _built(family: str, *, num_classes: int = NUM_CLASSES, **settings: Any) -> Recognizer:
    torch.manual_seed(0)
    settings = {"family": family, "backbone": BACKBONES[family], **settings}
    return build_recognizer(parse_recognizer(settings), num_classes)


def _zeros(shape: tuple[int, ...], name: str = "") -> Tensor:
    dtype = torch.int64 if name.endswith(("num_batches_tracked", "relative_position_index")) else torch.float32
    return torch.zeros((), dtype=dtype).expand(shape)


def _theirs(family: Family) -> dict[str, Tensor]:
    return {name: _zeros(shape, name) for name, shape in shapes_of(family).items()}


def _the_papers(family: Family) -> dict[str, Tensor]:
    """A student's checkpoint of the paper's code: these names under two paths, and Swin's last norm without number."""
    state: dict[str, Tensor] = {}
    for name, tensor in _theirs(family).items():
        plain = name.replace("norm3", "norm")
        if plain.startswith("backbone."):
            for path in ("low_res_path", "high_res_path"):
                state[plain.replace("backbone.", f"backbone.{path}.", 1)] = tensor
        else:
            state[plain] = tensor
            if family == "swin":
                state[plain.replace("fc_cls", "fc_cls_t")] = tensor
    return state


def _torchvision(name: str) -> dict[str, Tensor]:
    with torch.device("meta"):
        network = torchvision.models.get_model(name, weights=None)
    return {name: _zeros(tuple(value.shape), name) for name, value in network.state_dict().items()}


def _fit(model: Recognizer, state: Mapping[str, Tensor]) -> Any:
    return fit(model, WeightFile("the file", state))


@pytest.fixture(scope="module")
def resnet18() -> Recognizer:
    return _built("tsn", backbone="resnet18")


@pytest.mark.parametrize("family", FAMILIES)
def test_every_tensor_of_file_and_model_is_in_the_account_once(family: Family) -> None:
    model, state = _hollow(family), _theirs(family)
    report = _fit(model, state)
    assert sorted(row.source for row in report.rows if row.source) == sorted(state)
    assert sorted(row.target for row in report.rows if row.target) == sorted(model.state_dict())
    assert {row.fate for row in report.rows} <= {"loaded", "renamed", "new"}
    assert {row.why for row in report.rows if row.fate == "new"} <= {"a constant of the model"}
    assert report.layout == "mmaction2"
    assert all(row.source in report.table() for row in report.rows if row.source)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_papers_student_is_taken_and_the_teacher_beside_it_is_not(family: Family) -> None:
    report = _fit(_hollow(family), _the_papers(family))
    ignored = [row.source for row in report.rows if row.fate == "ignored"]
    assert ignored
    assert all(".high_res_path." in name or ".fc_cls_t." in name for name in ignored)
    assert report.layout == "the paper's code"
    assert "the teacher beside the student; a teacher loads its own checkpoint" in str(report)


def test_names_under_ddp_are_taken() -> None:
    report = _fit(_hollow("tsm"), {f"module.{name}": value for name, value in _theirs("tsm").items()})
    assert len(report.rows) == len(shapes_of("tsm"))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_missing_tensor_and_one_too_many_are_named(family: Family) -> None:
    names = [name for name in _theirs(family) if "num_batches_tracked" not in name]
    state, model = _theirs(family), _hollow(family)
    del state[names[20]]
    with pytest.raises(ValueError, match=r"^the file: expected weights of .*first difference at .*\(not in the file\)"):
        _fit(model, state)
    extra = _theirs(family) | {"backbone.layer1.0.non_local.weight": torch.zeros(1)}
    with pytest.raises(ValueError, match=r"backbone.layer1.0.non_local.weight \(not in the model\)"):
        _fit(model, extra)


@pytest.mark.parametrize("family", FAMILIES)
def test_another_familys_file_is_refused(family: Family) -> None:
    model = _hollow(family)
    for other in FAMILIES:
        if other != family:
            with pytest.raises(ValueError, match=r"^the file: expected weights [^\n]*$"):
                _fit(model, _theirs(other))


def test_a_tsm_is_no_tsn_though_its_tensors_fit() -> None:
    with pytest.raises(ValueError, match="0 convolutions shifted in time, found 16.*set family to tsm"):
        _fit(_hollow("tsn"), _theirs("tsm"))
    report = _fit(_hollow("tsn", weights_head="new"), _theirs("tsm"))
    assert "trained with 16 convolutions shifted in time, used with 0" in str(report)


@pytest.mark.parametrize("family", FAMILIES)
def test_other_classes_are_refused_unless_the_head_is_new(family: Family) -> None:
    message = r"with 9 classes, found .* with 5 classes.*head.weight; .*set weights_head to new"
    with pytest.raises(ValueError, match=message):
        _fit(_hollow(family, num_classes=9), _theirs(family))
    report = _fit(_hollow(family, num_classes=9, weights_head="new"), _theirs(family))
    assert [row.why for row in report.rows if row.fate == "ignored"] == ["the classifier of 5 classes"] * 2
    assert [row.target for row in report.rows if row.why == "the head, to be trained"] == ["head.weight", "head.bias"]


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_torchvisions_classifier_is_left_or_kept_as_asked(name: str) -> None:
    model = _built("tsn", backbone=name, num_classes=1000)
    before = model.head.weight.clone()
    _fit(model, _torchvision(name))
    assert torch.equal(model.head.weight, before)
    kept = _built("tsn", backbone=name, num_classes=1000, weights_head="keep")
    _fit(kept, _torchvision(name))
    assert not kept.head.weight.any()


def test_torchvisions_video_classifier_is_kept_when_asked() -> None:
    report = _fit(_hollow("swin", backbone="swin3d_t", num_classes=400, weights_head="keep"), _torchvision("swin3d_t"))
    assert not [row for row in report.rows if row.fate == "ignored"]


def test_a_head_that_is_not_there_cannot_be_kept() -> None:
    state = {name: value for name, value in _theirs("tsn").items() if not name.startswith("cls_head")}
    with pytest.raises(ValueError, match="with a classifier of 5 classes, found resnet50 without one; set"):
        _fit(_hollow("tsn"), state)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.full((64,), float("nan")), "expected finite weights, found NaN or infinity in layer1.0.bn1.weight"),
        (torch.ones(64, dtype=torch.int8), "torch.int8 in the file, torch.float32 in the model"),
        (torch.ones(64, device="meta"), "without values in the file"),
        (torch.ones(64).to_sparse(), "torch.float32 in the file"),
        (torch.ones(1), r"\(1,\) in the file, \(64,\) in the model"),
        (torch.ones(64, dtype=torch.complex64), "torch.complex64 in the file"),
    ],
)
def test_tensors_of_another_kind_are_refused_and_the_model_unchanged(
    value: Tensor, message: str, resnet18: Recognizer
) -> None:
    before = state_hash(resnet18)
    with pytest.raises(ValueError, match=message):
        _fit(resnet18, _torchvision("resnet18") | {"layer1.0.bn1.weight": value})
    assert state_hash(resnet18) == before


def test_half_precision_is_taken() -> None:
    model = _built("tsn", backbone="resnet18", num_classes=1000)
    _fit(model, {name: v.half() if v.is_floating_point() else v for name, v in _torchvision("resnet18").items()})
    assert model.head.weight.dtype == torch.float32


def test_two_tensors_for_one_place_are_refused() -> None:
    state = _torchvision("resnet18") | {"head.weight": torch.zeros(1000, 512)}
    with pytest.raises(ValueError, match=r"expected one tensor for head.weight, found fc.weight and head.weight"):
        _fit(_hollow("tsn", backbone="resnet18"), state)


def test_another_order_of_positions_is_refused() -> None:
    model = _built("swin", backbone="swin3d_t", weights_head="new")
    index = "features.0.0.attn.relative_position_index"
    state = _torchvision("swin3d_t")
    state |= {name: v for name, v in torchvision.models.get_model("swin3d_t").state_dict().items() if "index" in name}
    _fit(model, state)
    with pytest.raises(ValueError, match=rf"{index} \(another order of positions\)"):
        _fit(model, state | {index: state[index].T})


def test_an_image_network_starts_a_slow_only_network() -> None:
    report = _fit(_hollow("slow_only"), _torchvision("resnet50"))
    fates = {row.source: row.fate for row in report.rows}
    assert fates["layer3.0.conv1.weight"] == fates["conv1.weight"] == "inflated"
    assert fates["bn1.weight"] == "renamed"
    with pytest.raises(ValueError, match="over space and time, found resnet50.*only a start.*set weights_head to new"):
        _fit(_hollow("slow_only", num_classes=1000, weights_head="keep"), _torchvision("resnet50"))


def test_an_inflated_swin_sees_a_clip_of_one_picture_as_its_image_network_does() -> None:
    torch.manual_seed(1)
    image_network = torchvision.models.swin_t(weights=None).eval()
    model = _built("swin", backbone="swin3d_t").eval()
    _fit(model, image_network.state_dict())
    picture_HWC = torch.randint(0, 256, (224, 224, 3), dtype=torch.uint8)
    normalized_HWC = (picture_HWC - model.pixel_mean_C) / model.pixel_std_C
    with torch.no_grad():
        image_hwD = image_network.norm(image_network.features(normalized_HWC.permute(2, 0, 1)[None]))[0]
        features_THWD = model(picture_HWC.expand(1, 4, -1, -1, -1)).features_NTDHW[0].permute(0, 2, 3, 1)
    assert features_THWD.shape[0] == 2
    for features_HWD in features_THWD:
        torch.testing.assert_close(features_HWD, image_hwD, atol=1e-4, rtol=0)


def test_imagenet_names_of_the_image_network_start_a_video_swin(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = torchvision.models.Swin_T_Weights
    monkeypatch.setattr(entry, "get_state_dict", lambda self, **_: _torchvision("swin_t"))
    report = load_weights(_hollow("swin", backbone="swin3d_t"), "IMAGENET1K_V1")
    assert report is not None
    assert "swin_t" in str(report)
    assert {row.why for row in report.rows if row.fate == "ignored"} == {
        "the classifier of 1000 classes",
        "a constant that differs in 3-D",
    }


@pytest.mark.parametrize("family", ["tsm", "slow_only"])
def test_imagenet_names_start_the_other_families(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = torchvision.models.ResNet50_Weights
    monkeypatch.setattr(entry, "get_state_dict", lambda self, **_: _torchvision("resnet50"))
    assert load_weights(_hollow(family), "IMAGENET1K_V1") is not None


def test_names_with_other_pixel_statistics_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"expected pixel_mean \[123.675, 116.28, 103.53\], as torchvision's KINETICS400"
    ):
        load_weights(_hollow("swin", pixel_mean=(0, 0, 0)), "KINETICS400_V1")


def test_settings_in_the_file_are_checked_unless_it_is_a_start() -> None:
    file = WeightFile(
        "the file",
        {f"backbone.{name}": value for name, value in _torchvision("resnet18").items() if not name.startswith("fc")}
        | {"head.weight": torch.zeros(NUM_CLASSES, 512), "head.bias": torch.zeros(NUM_CLASSES)},
        settings={"backbone": "resnet18", "pixel_mean": [0, 0, 0]},
    )
    with pytest.raises(ValueError, match=r"expected weights trained with pixel_mean .*found \[0.0, 0.0, 0.0\]; set"):
        fit(_hollow("tsn", backbone="resnet18"), file)
    report = fit(_hollow("tsn", backbone="resnet18", weights_head="new"), file)
    assert "trained with [0.0, 0.0, 0.0], used with pixel_mean" in str(report)


def test_the_log_has_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    torch.save({"state_dict": _theirs("tsm")}, tmp_path / "tsm.pth")
    with caplog.at_level("INFO"):
        load_weights(_hollow("tsm"), str(tmp_path / "tsm.pth"))
    (record,) = caplog.records
    assert record.getMessage().endswith("(mmaction2: resnet50, 2-D and shifted in time, with 5 classes): 320 renamed")
