from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reskd.models.config import parse_recognizer
from reskd.models.families.registry import build_recognizer
from reskd.models.recognizer import Recognizer
from tests.reskd.models.families.families import FAMILIES, make_clips

PIXELS = {
    "family": "aggregated",
    "backbone": "resnet18",
    "aggregator": {"kind": "mean"},
    "classifier": {"kind": "linear"},
}
TIMM = {
    f"timm_{name}": {"family": "tsn", "backbone": f"timm/{name}"}
    for name in ("resnet18", "efficientnet_lite0", "convnext_atto", "vit_tiny_patch16_224")
}
ALL: dict[str, dict[str, Any]] = {
    **FAMILIES,
    "swin_dropped": FAMILIES["swin"] | {"stochastic_depth": 0.5},
    "aggregated": PIXELS,
    **TIMM,
}


def build(settings: dict[str, Any], **changes: Any) -> Recognizer:
    torch.manual_seed(0)
    return build_recognizer(parse_recognizer(settings | changes), 5)


def train_two_steps(model: Recognizer, side: int) -> tuple[list[Tensor], dict[str, Tensor]]:
    clips, losses = make_clips(2, 4, side, side), []
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    for step in range(2):
        torch.manual_seed(step)  # dropout and dropped paths
        loss = model(clips).logits_NK.float().logsumexp(1).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return losses, model.state_dict()


@pytest.mark.parametrize("family", ALL)
def test_computing_twice_changes_no_bit_and_counts_batch_norms_batch_once(family: str) -> None:
    if family.startswith("timm"):
        pytest.importorskip("timm")
    side = 224 if "vit" in family else 64
    plain, again = build(ALL[family]), build(ALL[family], activation_checkpointing=True)
    assert list(plain.state_dict()) == list(again.state_dict())
    losses, state = train_two_steps(plain, side)
    same_losses, same_state = train_two_steps(again, side)
    assert torch.equal(torch.stack(losses), torch.stack(same_losses))
    for name, value in state.items():
        assert torch.equal(value, same_state[name]), name
    assert all(value == 2 for name, value in same_state.items() if name.endswith("num_batches_tracked"))


@pytest.mark.parametrize("family", ["tsn", "slow_only", "swin"])
def test_fewer_bytes_are_kept_for_the_backward_pass(family: str) -> None:
    def kept_bytes(model: Recognizer) -> int:
        kept: dict[int, int] = {}

        def note(tensor: Tensor) -> Tensor:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            output = model(make_clips(1, 4, 64, 64))
        del output
        return sum(kept.values())

    assert kept_bytes(build(ALL[family], activation_checkpointing=True)) < 0.7 * kept_bytes(build(ALL[family]))


def test_a_copy_computes_its_own_blocks() -> None:
    model = build(FAMILIES["tsn"], activation_checkpointing=True)
    copied = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    clips = make_clips(1, 2, 64, 64)
    assert copied(clips).features_NTDHW.abs().max() > 0
    copied(clips).logits_NK.sum().backward()
    assert model.backbone.layer1[0].conv1.weight.grad is None
    assert copied.backbone.layer1[0].conv1.weight.grad is not None
    assert type(copied.backbone.layer1[0]) is type(copied.backbone.layer4[1])
    assert type(copied.backbone.layer1[0]).__name__ == "RecomputedBasicBlock"


def test_blocks_that_do_not_train_are_computed_once() -> None:
    model = build(FAMILIES["tsn"], activation_checkpointing=True)
    calls: list[nn.Module] = []
    model.backbone.layer2[0].conv1.register_forward_hook(lambda module, inputs, output: calls.append(module))
    clips = make_clips(2, 2, 64, 64)
    model.train()(clips).logits_NK.sum().backward()
    assert len(calls) == 2
    model.eval()(clips)
    with torch.no_grad():
        model.train()(clips)
    assert len(calls) == 4


def test_frozen_batch_norm_stays_as_it_is() -> None:
    model = build(FAMILIES["tsn"], activation_checkpointing=True, batch_norm="running_stats")
    before = {name: value.clone() for name, value in model.named_buffers()}
    model.train()(make_clips(2, 2, 64, 64)).logits_NK.sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in model.named_buffers())


@pytest.mark.slow
def test_a_compiled_network_gives_the_same_statistics() -> None:
    plain, compiled = (
        build(FAMILIES["tsn"], dropout=0.0),
        build(FAMILIES["tsn"], activation_checkpointing=True, dropout=0.0),
    )
    compiled.compile(backend="aot_eager", dynamic=False)
    losses, state = train_two_steps(plain, 64)
    same_losses, same_state = train_two_steps(compiled, 64)
    torch.testing.assert_close(torch.stack(same_losses), torch.stack(losses))
    for name, value in state.items():
        torch.testing.assert_close(same_state[name], value, rtol=1e-3, atol=1e-4, msg=name)
