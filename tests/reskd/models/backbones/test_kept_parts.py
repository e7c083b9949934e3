"""What a network keeps of its weights while it is trained."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.flop_counter import FlopCounterMode

from reskd.models.config import difference, parse_recognizer
from reskd.models.families.registry import build_recognizer
from reskd.models.recognizer import Recognizer
from reskd.training.checkpoint import load_checkpoint
from tests.reskd.models.families.families import make_clips
from tests.reskd.training import tiny

torch.set_num_threads(1)
FAMILIES: dict[str, dict[str, Any]] = {
    "tsn": {"backbone": "resnet18"},
    "mobilenet_v2": {"backbone": "mobilenet_v2"},
    "timm": {"backbone": "timm/tf_efficientnet_lite0"},
    "tsm": {"family": "tsm", "backbone": "resnet18"},
    "slow_only": {"family": "slow_only", "backbone": "resnet50"},
}


def _made(num_classes: int = 3, **settings: Any) -> Recognizer:
    """With statistics, scales and offsets as of a trained network, and without dropout."""
    torch.manual_seed(0)
    model = build_recognizer(parse_recognizer({"dropout": 0, "head_init_std": 0.1, **settings}), num_classes)
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            for value, low in ((module.running_mean, -0.1), (module.running_var, 0.9), (module.weight, 0.9)):
                assert value is not None
                nn.init.uniform_(value, low, low + 0.2)
    return model


@cache
def _clips() -> Tensor:
    return make_clips(2, 2, 64, 64)


def _norms(module: nn.Module) -> dict[str, Tensor]:
    return {
        f"{path}.{name}": value.detach().clone()
        for path, norm in module.named_modules()
        if isinstance(norm, _BatchNorm)
        for name, value in norm.state_dict().items()
    }


def _gradients(model: Recognizer) -> dict[str, Tensor]:
    model.zero_grad()
    model(_clips()).logits_NK.square().sum().backward()
    return {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}


@pytest.mark.parametrize("family", FAMILIES)
def test_frozen_batch_norm_trains_the_network_that_is_evaluated(family: str) -> None:
    free, kept = _made(**FAMILIES[family]).eval(), _made(**FAMILIES[family], batch_norm="running_stats").train()
    before = _norms(kept)
    found, expected = _gradients(kept), _gradients(free)
    assert before and all(torch.equal(value, before[name]) for name, value in _norms(kept).items())
    of_norms = {name for name in expected if name in before}
    assert of_norms == before.keys() - {name for name in before if "running" in name or "num_batches" in name}
    assert found.keys() == expected.keys() - of_norms
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], msg=name)


def test_batch_norm_learns_unless_it_is_kept() -> None:
    model = _made(**FAMILIES["tsn"]).train()
    before = _norms(model)
    _gradients(model)
    assert not torch.equal(_norms(model)["backbone.bn1.running_mean"], before["backbone.bn1.running_mean"])


def test_batch_norm_of_an_aggregator_is_not_kept() -> None:
    aggregator = {"kind": "netvlad", "num_clusters": 2, "hidden_dim": 4}
    settings = {"family": "aggregated", "backbone": "resnet18", "aggregator": aggregator}
    config = parse_recognizer({**settings, "classifier": {"kind": "linear"}, "batch_norm": "running_stats"})
    model = build_recognizer(config, 3).train()
    for path, module in model.named_modules():
        if isinstance(module, _BatchNorm):
            in_backbone = path.startswith("backbone.")
            assert module.training != in_backbone, path
            assert all(value.requires_grad != in_backbone for value in module.parameters()), path


@pytest.mark.parametrize(
    "settings", [{"family": "swin", "backbone": "swin3d_t"}, {"backbone": "timm/convnext_atto"}], ids=["swin", "timm"]
)
def test_a_backbone_without_batch_norm_is_refused(settings: dict[str, Any]) -> None:
    config = parse_recognizer({**settings, "batch_norm": "running_stats"})
    expected = f"batch_norm = running_stats: expected a backbone with batch norm, found {settings['backbone']}"
    with torch.device("meta"), pytest.raises(ValueError, match=expected):
        build_recognizer(config, 3)


KEPT: list[dict[str, Any]] = [{"batch_norm": "running_stats"}, {"frozen_stages": 2}]


STAGES = {  # first stage that learns -> the modules below it
    "tsn": {1: "conv1 bn1 layer1", 2: "layer2", 3: "layer3", 4: "layer4"},
    "tsm": {1: "conv1 bn1 layer1", 2: "layer2", 3: "layer3", 4: "layer4"},
    "mobilenet_v2": {
        1: "features.0 features.1 features.2 features.3",
        2: "features.4 features.5 features.6",
        3: "features.7 features.8 features.9 features.10 features.11 features.12 features.13",
        4: "features.14 features.15 features.16 features.17 features.18",
    },
    "timm": {
        1: "network.conv_stem network.bn1 network.blocks.0 network.blocks.1",
        2: "network.blocks.2",
        3: "network.blocks.3 network.blocks.4",
        4: "network.blocks.5 network.blocks.6 network.conv_head network.bn2",
    },
}


@pytest.mark.parametrize("num_stages", [0, 1, 2, 3, 4, "all"])
@pytest.mark.parametrize("family", STAGES)
def test_the_first_stages_are_frozen_and_in_eval_mode(family: str, num_stages: int | str) -> None:
    model = _made(**FAMILIES[family], frozen_stages=num_stages).train()
    last = 4 if num_stages == "all" else int(num_stages)
    frozen = " ".join(names for stage, names in STAGES[family].items() if stage <= last).split()
    for name, parameter in model.named_parameters():
        below = any(name.startswith(f"backbone.{start}.") for start in frozen)
        assert parameter.requires_grad != below, name
        assert model.get_submodule(name.rpartition(".")[0]).training != below, name


@pytest.mark.parametrize("family", STAGES)
def test_weights_at_random_and_answers_are_those_of_the_network_that_learns(family: str) -> None:
    free, frozen = _made(**FAMILIES[family]), _made(**FAMILIES[family], frozen_stages=2)
    after = frozen.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in free.state_dict().items())
    assert torch.equal(free.eval()(_clips()).logits_NK, frozen.eval()(_clips()).logits_NK)


@pytest.mark.parametrize("family", STAGES)
def test_a_linear_probe_is_shown_the_features_of_evaluation(family: str) -> None:
    model = _made(**FAMILIES[family], frozen_stages="all")
    before = {name: value.clone() for name, value in model.backbone.state_dict().items()}
    expected = model.eval()(_clips()).logits_NK
    assert torch.equal(model.train()(_clips()).logits_NK, expected)
    assert _gradients(model).keys() == {"head.weight", "head.bias"}
    assert all(torch.equal(value, before[name]) for name, value in model.backbone.state_dict().items())


def test_the_backward_pass_ends_where_the_frozen_stages_do() -> None:
    """Forward once; backward as much again for weights and for inputs, but for the inputs of the first layers."""
    model = _made(**FAMILIES["tsn"], frozen_stages=2).train()

    def flops(*, backward: bool) -> dict[str, int]:
        with FlopCounterMode(display=False) as counter:
            total = model(_clips()).logits_NK.sum()
            if backward:
                total.backward()
        return {name: sum(counts.values()) for name, counts in counter.get_flop_counts().items()}

    forward, both = flops(backward=False), flops(backward=True)
    root = type(model).__name__
    of = {name: forward[f"{root}.{name}"] for name in ("backbone.layer3", "backbone.layer4", "head")}
    first = forward[f"{root}.backbone.layer3.0.conv1"] + forward[f"{root}.backbone.layer3.0.downsample.0"]
    assert both["Global"] == forward["Global"] + 2 * sum(of.values()) - first


def test_too_many_stages_are_refused_with_their_number() -> None:
    for backbone in ("resnet18", "timm/convnext_atto"):
        config = parse_recognizer({"backbone": backbone, "frozen_stages": 5})
        expected = f"frozen_stages: expected at most 4 for {backbone}, found 5"
        with torch.device("meta"), pytest.raises(ValueError, match=expected):
            build_recognizer(config, 3)


def test_the_blocks_of_a_network_that_reduces_nothing_are_its_stages() -> None:
    with torch.device("meta"):
        model = build_recognizer(parse_recognizer({"backbone": "timm/vit_tiny_patch16_224", "frozen_stages": 2}), 3)
    frozen = [name.split(".")[2:4] for name, value in model.named_parameters() if not value.requires_grad]
    expected = {"cls_token", "pos_embed", "patch_embed.proj", "blocks.0", "blocks.1"}
    assert {".".join(parts) for parts in frozen} == expected


@pytest.mark.parametrize("kept", KEPT, ids=lambda kept: next(iter(kept)))
def test_a_checkpoint_loads_whatever_is_kept(kept: dict[str, Any]) -> None:
    free, config = _made(**FAMILIES["tsn"]), parse_recognizer({**FAMILIES["tsn"], **kept})
    assert difference(config, free.config.model_dump(mode="json")) is None
    with torch.device("meta"):
        assert build_recognizer(config, 3).state_dict().keys() == free.state_dict().keys()


@pytest.mark.parametrize("kept", KEPT, ids=lambda kept: next(iter(kept)))
def test_the_trainer_leaves_it_as_it_is_also_after_a_validation_and_a_resume(
    kept: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny, "SHAPES", {"teacher": (2, 32, 32), "student": (2, 32, 48)})
    monkeypatch.setattr(tiny, "TinyRecognizer", lambda *_: _made(tiny.NUM_CLASSES, **FAMILIES["tsn"], **kept))

    class Evaluated:
        def __call__(self, model: nn.Module) -> dict[str, float]:
            model.eval()
            model.train()
            return {"top1": 0.5}

        def close(self) -> None: ...

    def trainer(epochs: float) -> Any:
        settings = {"epochs": epochs, "global_batch_size": 8, "alpha": None, "validations": {"student": Evaluated()}}
        return tiny.make_trainer(tmp_path, **settings)

    first = trainer(1)
    before = {name: value.clone() for name, value in first.trainable.student.state_dict().items()}
    fixed = {name for name, value in first.trainable.student.named_parameters() if not value.requires_grad}
    fixed |= {f"{name.rpartition('.')[0]}.running_mean" for name in fixed if f"{name[:-6]}running_mean" in before}
    first.fit()
    second = trainer(2)
    second.load_state(load_checkpoint(tmp_path / "last.pt"))
    second.fit()
    assert second.num_steps == 6
    after = second.trainable.student.state_dict()
    assert "backbone.bn1.running_mean" in fixed
    assert all(torch.equal(after[name], before[name]) for name in fixed)
    learned = [name for name, value in second.trainable.student.named_parameters() if value.requires_grad]
    assert "head.weight" in learned and not any(torch.equal(after[name], before[name]) for name in learned)
