from __future__ import annotations

import math
import sys

import pytest
import torch
from torch import nn

from reskd.models.aggregators.h_rnn import SkippingLstm
from reskd.models.config import parse_recognizer
from reskd.models.families.registry import build_recognizer
from reskd.training.optimizer import build_optimizer, parameter_groups, set_lr, step_if_finite
from reskd.training.settings.optimizer import OptimizerConfig


def network() -> nn.Module:
    frozen = nn.Linear(2, 2).requires_grad_(False)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2), frozen)


def test_biases_learn_at_twice_the_rate_and_only_weights_decay() -> None:
    model = network()
    optimizer = build_optimizer(model, OptimizerConfig(lr=0.1, weight_decay=1e-4, bias_lr_factor=2))
    groups = {group["name"]: group for group in optimizer.param_groups}
    assert {name: (group["lr"], group["weight_decay"]) for name, group in groups.items()} == {
        "weights": (0.1, 1e-4),
        "biases": (0.2, 0.0),
        "norms": (0.1, 0.0),
    }
    assert [id(p) for p in groups["weights"]["params"]] == [id(model[0].weight), id(model[3].weight)]
    assert [id(p) for p in groups["biases"]["params"]] == [id(model[0].bias), id(model[3].bias)]
    assert [id(p) for p in groups["norms"]["params"]] == [id(model[1].weight), id(model[1].bias)]


def test_every_trainable_parameter_is_in_one_group_and_frozen_ones_in_none() -> None:
    model = network()
    grouped = [id(p) for group in parameter_groups(model, OptimizerConfig(lr=0.1)) for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters() if p.requires_grad)


def test_a_backbone_may_learn_slower_than_the_head() -> None:
    model = nn.ModuleDict({"student": nn.ModuleDict({"backbone": network(), "head": nn.Linear(2, 3)})})
    config = OptimizerConfig(lr=0.1, weight_decay=0.05, bias_lr_factor=2, backbone_lr_factor=0.1)
    groups = {
        group["name"]: (group["lr"], group["weight_decay"]) for group in build_optimizer(model, config).param_groups
    }
    assert {name: (pytest.approx(lr), decay) for name, (lr, decay) in groups.items()} == {
        "weights": (0.1, 0.05),
        "biases": (0.2, 0.0),
        "backbone_weights": (0.01, 0.05),
        "backbone_biases": (0.02, 0.0),
        "backbone_norms": (0.01, 0.0),
    }


def tsn() -> nn.ModuleDict:
    config = parse_recognizer({"family": "tsn", "backbone": "resnet18", "stage_strides": [1, 1, 2, 2]})
    return nn.ModuleDict({"student": build_recognizer(config, 3), "loss": nn.Linear(2, 2)})


def test_the_learning_rate_falls_from_layer_to_layer_with_every_other_setting() -> None:
    module = tsn()
    config = OptimizerConfig(lr=0.1, weight_decay=0.05, layer_decay=0.5, backbone_lr_factor=0.5, bias_lr_factor=2)
    optimizer = build_optimizer(module, config)
    rates = {id(p): (group["lr"], group["weight_decay"]) for group in optimizer.param_groups for p in group["params"]}
    student = module["student"]
    for name, lr, decay in (
        ("head.weight", 0.1, 0.05),
        ("head.bias", 0.2, 0.0),
        ("backbone.layer4.1.conv2.weight", 0.1 * 0.5 * 0.5, 0.05),
        ("backbone.layer4.1.bn2.bias", 0.1 * 0.5 * 0.5, 0.0),
        ("backbone.layer1.0.conv1.weight", 0.1 * 0.5 * 0.5**8, 0.05),
        ("backbone.conv1.weight", 0.1 * 0.5 * 0.5**9, 0.05),
    ):
        assert rates[id(student.get_parameter(name))] == (pytest.approx(lr), decay), name
    assert rates[id(module["loss"].weight)] == (0.1, 0.05)
    assert len(rates) == len(list(module.parameters()))
    set_lr(optimizer, 0.01)
    assert optimizer.param_groups[-1]["lr"] == pytest.approx(0.01 * 0.5 * 0.5**9)


def test_without_layer_decay_and_with_a_decay_of_1_rates_are_the_same() -> None:
    module = tsn()
    plain, of_layers = (
        {id(p): group["lr_factor"] for group in parameter_groups(module, config) for p in group["params"]}
        for config in (OptimizerConfig(lr=0.1), OptimizerConfig(lr=0.1, layer_decay=1))
    )
    assert plain == of_layers
    assert [group["name"] for group in parameter_groups(module, OptimizerConfig(lr=0.1))] == [
        *("weights", "biases", "norms")
    ]


def test_tables_of_relative_positions_are_not_decayed() -> None:
    attention = nn.Module()
    attention.relative_position_bias_table = nn.Parameter(torch.zeros(3, 2))
    (group,) = parameter_groups(attention, OptimizerConfig(lr=0.1))
    assert (group["name"], group["weight_decay"], group["lr_factor"]) == ("norms", 0.0, 1.0)


def test_what_else_is_decayed_is_a_setting() -> None:
    model = nn.ModuleDict({"backbone": network(), "head": nn.Linear(2, 3)})
    model["backbone"].relative_position_bias_table = nn.Parameter(torch.zeros(3, 2))  # type: ignore[assignment]
    config = OptimizerConfig(
        lr=1.0,
        weight_decay=0.02,
        bias_lr_factor=1,
        backbone_lr_factor=0.1,
        also_decayed=("biases", "norms"),
        position_table_lr_factor=1.0,
    )
    groups = {group["name"]: (group["lr_factor"], group["weight_decay"]) for group in parameter_groups(model, config)}
    assert groups == {
        "weights": (1.0, 0.02),
        "biases": (1.0, 0.02),
        "backbone_weights": (0.1, 0.02),
        "backbone_biases": (0.1, 0.02),
        "backbone_norms": (0.1, 0.02),
        "backbone_position_tables": (1.0, 0.0),
    }


def test_biases_of_h_rnn_are_columns_of_weights() -> None:
    """As the module's docstring says, and Note [Steps that are not there]."""
    lstm = SkippingLstm(3, 4, num_layers=1)
    (group,) = parameter_groups(lstm, OptimizerConfig(lr=0.1))
    assert group["name"] == "weights" and [tuple(p.shape) for p in group["params"]] == [(16, 3 + 1), (16, 4)]


def test_set_lr_keeps_the_ratio_of_the_groups() -> None:
    optimizer = build_optimizer(network(), OptimizerConfig(lr=0.1))
    set_lr(optimizer, 0.01)
    assert [group["lr"] for group in optimizer.param_groups] == [0.01, 0.02, 0.01]


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_one_step_goes_downhill(name: str) -> None:
    torch.manual_seed(0)  # a model that begins at the optimum steps over it
    model = nn.Linear(3, 1)
    optimizer = build_optimizer(model, OptimizerConfig(name=name, lr=0.01))
    inputs = torch.ones(4, 3)
    before = model(inputs).pow(2).mean()
    before.backward()
    optimizer.step()
    assert model(inputs).pow(2).mean() < before


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_first_step_that_overflows_leaves_no_trace(name: str) -> None:
    model = nn.Linear(64, 64)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer = build_optimizer(model, OptimizerConfig(name=name, lr=0.01))
    scaler = torch.amp.GradScaler("cpu")
    for factor in (float("inf"), 0.0):  # an overflow, then a gradient of zero: weights may only decay
        optimizer.zero_grad()
        scaler.scale(model(torch.ones(1, 64)).sum() * factor).backward()
        for parameter in model.parameters():
            parameter.grad.nan_to_num_(posinf=float("inf"))  # type: ignore[union-attr]
        scaler.step(optimizer)
        scaler.update()
    for parameter, old in zip(model.parameters(), before, strict=True):
        torch.testing.assert_close(parameter, old, atol=1e-3, rtol=1e-3)


def test_momentum_is_zero_before_the_first_step() -> None:
    optimizer = build_optimizer(network(), OptimizerConfig(lr=0.1))
    buffers = [optimizer.state[p]["momentum_buffer"] for group in optimizer.param_groups for p in group["params"]]
    assert len(buffers) == 6
    assert all(torch.count_nonzero(buffer) == 0 for buffer in buffers)


def test_apex_is_refused_with_the_reason_where_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apex", None)
    monkeypatch.setitem(sys.modules, "apex.optimizers", None)
    with pytest.raises(ValueError, match="implementation=apex: expected NVIDIA's apex, found none"):
        build_optimizer(network(), OptimizerConfig(lr=0.1, implementation="apex"))


def _trained(name: str, norms: list[float] | None, *, num_steps: int = 3) -> list[torch.Tensor]:
    """Weights and moments after steps on the same gradients; ``norms`` None: plain steps."""
    torch.manual_seed(0)
    model = network()
    optimizer = build_optimizer(model, OptimizerConfig(name=name, lr=0.1, weight_decay=0.01))
    for step in range(num_steps):
        torch.manual_seed(step)
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter) if parameter.requires_grad else None
        if norms is None:
            optimizer.step()
        else:
            step_if_finite(optimizer, torch.tensor(norms[step]))
    moments = [value for held in optimizer.state_dict()["state"].values() for value in held.values()]
    return [*model.state_dict().values(), *moments]


def assert_same(found: list[torch.Tensor], expected: list[torch.Tensor]) -> None:
    assert len(found) == len(expected)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_step_of_a_finite_norm_is_a_plain_step_to_the_bit(name: str) -> None:
    assert_same(_trained(name, [1.0, 2.0, 3.0]), _trained(name, None))


@pytest.mark.parametrize("name", ["sgd", "adamw"])
@pytest.mark.parametrize("norm", [math.nan, math.inf])
def test_a_step_of_a_norm_that_is_not_finite_changes_nothing(norm: float, name: str) -> None:
    assert_same(_trained(name, [1.0, norm, norm]), _trained(name, None, num_steps=1))
