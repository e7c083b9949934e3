"""TSM: which channels come from which frame, for any number of frames, and through torch.compile."""

from __future__ import annotations

import copy

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from reskd.models.backbones.temporal_shift import ShiftedConv2d, shift_in_time, shift_residual_blocks
from reskd.models.backbones.torchvision_2d import build_backbone
from reskd.models.config import TsmConfig, TsnConfig, parse_recognizer
from reskd.models.families.registry import build_recognizer
from tests.reskd.models.families.families import assert_alike

torch.set_num_threads(1)


def _shifted_one_by_one(images_BCHW: Tensor, *, num_frames: int, num_shifted: int) -> Tensor:
    """The definition: each frame looks up its channels."""
    result_BCHW = images_BCHW.clone()
    for image in range(len(images_BCHW)):
        frame = image % num_frames
        next_one, last_one = slice(0, num_shifted), slice(num_shifted, 2 * num_shifted)
        result_BCHW[image, next_one] = images_BCHW[image + 1, next_one] if frame + 1 < num_frames else 0
        result_BCHW[image, last_one] = images_BCHW[image - 1, last_one] if frame > 0 else 0
    return result_BCHW


def _frames(num_clips: int, num_frames: int, side: int = 32) -> Tensor:
    generator = torch.Generator().manual_seed(num_clips)
    return torch.randint(0, 256, (num_clips, num_frames, side, side, 3), dtype=torch.uint8, generator=generator)


def _recognizer(backbone: str = "resnet18") -> nn.Module:
    torch.manual_seed(0)
    return build_recognizer(parse_recognizer({"family": "tsm", "backbone": backbone, "head_init_std": 0.1}), 5).eval()


def test_a_worked_example() -> None:
    clip_TC = torch.tensor([[1, 10, 100], [2, 20, 200], [3, 30, 300]])
    shifted_TC = shift_in_time(clip_TC[:, :, None, None], num_frames=3, num_shifted=1)[:, :, 0, 0]
    assert shifted_TC.tolist() == [[2, 0, 100], [3, 10, 200], [0, 20, 300]]


@pytest.mark.parametrize("num_frames", [1, 2, 3, 8])
@pytest.mark.parametrize("num_shifted", [1, 2, 4])
@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_values_and_gradients_equal_looking_up_each_frame(
    num_frames: int, num_shifted: int, memory_format: torch.memory_format
) -> None:
    images_BCHW = torch.randn(2 * num_frames, 8, 3, 5).to(memory_format=memory_format)
    weights_BCHW = torch.randn(2 * num_frames, 8, 3, 5)
    results = []
    for shift in (shift_in_time, _shifted_one_by_one):
        given_BCHW = images_BCHW.clone().requires_grad_()
        shifted_BCHW = shift(given_BCHW * 1, num_frames=num_frames, num_shifted=num_shifted)
        (shifted_BCHW * weights_BCHW).sum().backward()
        results.append((shifted_BCHW.detach(), given_BCHW.grad))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


def test_the_shift_leaves_its_input_alone_and_keeps_channels_last() -> None:
    images_BCHW = torch.randn(6, 8, 3, 5).to(memory_format=torch.channels_last)
    before_BCHW = images_BCHW.clone()
    shifted_BCHW = shift_in_time(images_BCHW, num_frames=3, num_shifted=1)
    assert torch.equal(images_BCHW, before_BCHW)
    assert shifted_BCHW.is_contiguous(memory_format=torch.channels_last)


def test_parameters_are_those_of_the_plain_network() -> None:
    tsm = _recognizer()
    torch.manual_seed(0)
    plain = build_recognizer(TsnConfig(backbone="resnet18", head_init_std=0.1), 5)
    state = plain.state_dict()
    assert {name: value.shape for name, value in tsm.state_dict().items()} == {
        name: value.shape for name, value in state.items()
    }
    assert all(torch.equal(value, state[name]) for name, value in tsm.state_dict().items())


@pytest.mark.parametrize(("backbone", "num_shifted"), [("resnet18", 8), ("resnet50", 16), ("resnet101", 18)])
def test_every_block_is_shifted_and_in_the_deepest_networks_every_second(backbone: str, num_shifted: int) -> None:
    with torch.device("meta"):
        network, _ = build_backbone(backbone)
        shift_residual_blocks(network, shift_divisor=8)
    names = [name for name, module in network.named_modules() if isinstance(module, ShiftedConv2d)]
    assert len(names) == num_shifted
    assert all(name.endswith(".conv1") and name.startswith("layer") for name in names)


@torch.no_grad()
def test_one_network_takes_clips_of_any_length_and_clips_do_not_mix() -> None:
    model = _recognizer()
    for num_frames in (4, 1, 3):
        frames_NTHWC = _frames(2, num_frames)
        together, alone = model(frames_NTHWC), model(frames_NTHWC[1:])
        assert together.features_NTDHW.shape[:2] == (2, num_frames)
        assert_alike(together.logits_NK[1:], alone.logits_NK)


@torch.no_grad()
def test_the_order_of_frames_matters() -> None:
    model, frames_NTHWC = _recognizer(), _frames(1, 4)
    assert not torch.allclose(model(frames_NTHWC).logits_NK, model(frames_NTHWC.flip(1)).logits_NK, rtol=1e-2)


@torch.no_grad()
def test_a_copy_has_a_clip_length_of_its_own() -> None:
    model = _recognizer()
    expected_NK = model(_frames(1, 4)).logits_NK
    other = copy.deepcopy(model)
    other(_frames(1, 2))
    assert model.clip.num_frames == 4
    assert other.clip.num_frames == 2
    assert_alike(other(_frames(1, 4)).logits_NK, expected_NK)


@torch.no_grad()
def test_a_compiled_network_follows_the_number_of_frames() -> None:
    model = _recognizer()
    # Compiling a whole network takes ten seconds.
    model.backbone = ShiftedConv2d(nn.Conv2d(3, 512, 1, bias=False), clip=model.clip, shift_divisor=3)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    for num_frames in (4, 2, 4):
        frames_NTHWC = _frames(2, num_frames)
        assert_alike(compiled(frames_NTHWC).logits_NK, model(frames_NTHWC).logits_NK)


@pytest.mark.parametrize("shift_divisor", [1, 65])
def test_a_divisor_that_leaves_nothing_or_moves_nothing_is_refused(shift_divisor: int) -> None:
    with pytest.raises(ValidationError, match="shift_divisor"):
        TsmConfig(family="tsm", backbone="resnet18", shift_divisor=shift_divisor)
