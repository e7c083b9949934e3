"""Video Swin: torchvision's answers, windows on small maps against a dense definition, and checkpointed blocks."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.video.swin_transformer import ShiftedWindowAttention3d
from torchvision.ops import StochasticDepth

from reskd.models.backbones.swin import MaskedWindowAttention
from reskd.models.config import difference, parse_recognizer
from tests.reskd.models.families.families import FAMILIES, NUM_CLASSES, make, make_clips

torch.set_num_threads(1)

WINDOW = [8, 7, 7]
# Fits; smaller in every axis; one axis shifted, one padded; multiples; longer and no multiples; a single patch.
MAPS = [(8, 7, 7), (4, 4, 4), (2, 9, 5), (16, 14, 7), (9, 8, 15), (1, 1, 1), (10, 7, 20)]
SHIFTS = [[0, 0, 0], [4, 3, 3]]


def _attention(kind: type[ShiftedWindowAttention3d], shift: list[int]) -> ShiftedWindowAttention3d:
    """In fp64, with biases that matter: torchvision's start at 0 and 0.02."""
    torch.manual_seed(0)
    layer = kind(12, WINDOW, shift, 3)
    nn.init.normal_(layer.relative_position_bias_table)
    nn.init.normal_(layer.qkv.bias)
    return layer.double()


def _noise(*size: int) -> Tensor:
    return torch.randn(*size, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def _attend_densely(layer: ShiftedWindowAttention3d, map_NTHWC: Tensor) -> Tensor:
    """The definition: every patch looks at every patch of its window, of 8 x 7 x 7, at the bias of their distance."""
    size, num_clips, width = map_NTHWC.shape[1:4], len(map_NTHWC), map_NTHWC.shape[-1]
    window = torch.tensor(WINDOW)
    shift = torch.tensor([s if side > w else 0 for side, w, s in zip(size, WINDOW, layer.shift_size, strict=True)])
    axes = torch.meshgrid(*(torch.arange(side) for side in size), indexing="ij")
    places_L3 = torch.stack(axes, -1).flatten(0, 2)
    # A shift moves the windows' borders to shift, shift + window, ...: the first window is the shorter one.
    windows_L3 = torch.div(places_L3 - shift, window, rounding_mode="floor")
    together_LL = (windows_L3[:, None] == windows_L3[None]).all(-1)
    offsets_LL3 = (places_L3[:, None] - places_L3[None] + window - 1).where(together_LL[..., None], 0)
    rows_LL = (offsets_LL3[..., 0] * 13 + offsets_LL3[..., 1]) * 13 + offsets_LL3[..., 2]
    heads = layer.qkv(map_NTHWC.flatten(1, 3)).view(num_clips, -1, 3, layer.num_heads, width // layer.num_heads)
    queries, keys, values = heads.permute(2, 0, 3, 1, 4)
    scores = queries @ keys.transpose(-1, -2) / (width // layer.num_heads) ** 0.5
    scores = scores + layer.relative_position_bias_table[rows_LL].permute(2, 0, 1)
    attended = scores.masked_fill(~together_LL, -torch.inf).softmax(-1) @ values
    return layer.proj(attended.transpose(1, 2).flatten(2)).view(map_NTHWC.shape)


@pytest.mark.parametrize("size", MAPS)
@pytest.mark.parametrize("shift", SHIFTS)
def test_masked_windows_equal_attention_over_all_pairs(size: tuple[int, int, int], shift: list[int]) -> None:
    layer = _attention(MaskedWindowAttention, shift)
    results = []
    for attend in (layer, lambda x: _attend_densely(layer, x)):
        layer.zero_grad()
        map_NTHWC = _noise(2, *size).requires_grad_()
        answer_NTHWC = attend(map_NTHWC)
        (
            answer_NTHWC * torch.linspace(-1, 1, answer_NTHWC.numel(), dtype=torch.float64).view(answer_NTHWC.shape)
        ).sum().backward()
        results.append((answer_NTHWC.detach(), map_NTHWC.grad, *(value.grad for value in layer.parameters())))
    for ours, dense in zip(*results, strict=True):
        torch.testing.assert_close(ours, dense)


@pytest.mark.parametrize("size", MAPS)
@pytest.mark.parametrize("shift", SHIFTS)
@torch.no_grad()
def test_both_choices_agree_where_windows_fit_and_differ_where_they_do_not(
    size: tuple[int, int, int], shift: list[int]
) -> None:
    masked, published = (_attention(kind, shift) for kind in (MaskedWindowAttention, ShiftedWindowAttention3d))
    map_NTHWC = _noise(2, *size)
    fits = size in ((8, 7, 7), (16, 14, 7), (1, 1, 1))
    agrees = torch.allclose(masked(map_NTHWC), published(map_NTHWC), rtol=1e-4, atol=1e-5)
    assert agrees is fits


@torch.no_grad()
def test_published_windows_attend_to_padding_and_masked_ones_do_not() -> None:
    """The biases of keys and values are all that padding consists of."""
    map_NTHWC = _noise(1, 8, 8, 7)
    for kind, attends in ((ShiftedWindowAttention3d, True), (MaskedWindowAttention, False)):
        layer = _attention(kind, [0, 0, 0])
        layer.qkv.weight.zero_()
        layer.qkv.bias[:24] = 0
        layer.proj.bias.zero_()
        layer.relative_position_bias_table.zero_()
        # All scores are 0 and all values the bias: a mean of anything is the bias, padding or not.
        full = layer(map_NTHWC)
        layer.qkv.weight[24:] = 1
        layer.qkv.bias.zero_()
        constant = layer(torch.ones_like(map_NTHWC))
        assert torch.allclose(full, full[:, :1, :1, :1], atol=1e-5)
        assert torch.allclose(constant, constant[:, :1, :1, :1], atol=1e-4) is not attends


@torch.no_grad()
def test_no_clip_of_a_padded_map_makes_nan_nor_do_its_gradients() -> None:
    layer = _attention(MaskedWindowAttention, [4, 3, 3])
    with torch.enable_grad():
        map_NTHWC = _noise(1, 9, 8, 8).requires_grad_()
        layer(map_NTHWC).sum().backward()
    assert map_NTHWC.grad is not None
    assert map_NTHWC.grad.isfinite().all()
    assert all(value.grad.isfinite().all() for value in layer.parameters())


@pytest.mark.parametrize("shape", [(2, 4, 64, 64), (1, 2, 50, 91)])
@torch.no_grad()
def test_published_answers_equal_torchvisions_own_network(shape: tuple[int, int, int, int]) -> None:
    model = make("swin").eval()
    network = torchvision.models.get_model("swin3d_t", weights=None, num_classes=NUM_CLASSES).eval()
    head = {f"head.{name}": value for name, value in model.head.state_dict().items()}
    network.load_state_dict(model.backbone.state_dict() | head)
    frames_NTHWC = make_clips(*shape)
    clips_NCTHW = ((frames_NTHWC - model.pixel_mean_C) / model.pixel_std_C).permute(0, 4, 1, 2, 3).contiguous()
    torch.testing.assert_close(model(frames_NTHWC).logits_NK, network(clips_NCTHW), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", ["swin", "swin_masked"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_parameters_have_torchvisions_names_and_shapes(family: str, checkpointing: bool) -> None:
    with torch.device("meta"):
        state = make(family, activation_checkpointing=checkpointing).backbone.state_dict()
        expected = torchvision.models.get_model("swin3d_t", weights=None).state_dict()
    shapes = {name: value.shape for name, value in expected.items() if not name.startswith("head.")}
    assert {name: value.shape for name, value in state.items()} == shapes


@pytest.mark.parametrize("family", ["swin", "swin_masked"])
def test_checkpointed_blocks_give_the_same_gradients_and_run_twice(family: str) -> None:
    frames_NTHWC, results = make_clips(2, 2, 32, 48), []
    for checkpointing, num_runs in ((False, 1), (True, 2)):
        model = make(family, activation_checkpointing=checkpointing, stochastic_depth=0.5)
        runs: list[nn.Module] = []
        for module in model.modules():
            if isinstance(module, ShiftedWindowAttention3d):
                module.register_forward_hook(lambda layer, *_, runs=runs: runs.append(layer))
        torch.manual_seed(1)
        output = model(frames_NTHWC)
        (output.logits_NK.logsumexp(1).sum() + output.features_NTDHW.square().mean()).backward()
        assert len(runs) == 12 * num_runs
        results.append([output.logits_NK.detach(), *(value.grad for value in model.parameters())])
    assert all(torch.equal(plain, again) for plain, again in zip(*results, strict=True))


def test_stochastic_depth_grows_to_the_last_block() -> None:
    with torch.device("meta"):
        rates = [
            [layer.p for layer in make("swin", **settings).modules() if isinstance(layer, StochasticDepth)]
            for settings in ({}, {"stochastic_depth": 0.3})
        ]
        network = torchvision.models.get_model("swin3d_t", weights=None)
    published = [layer.p for layer in network.modules() if isinstance(layer, StochasticDepth)]
    assert rates[0] == pytest.approx(published)
    assert rates[1] == pytest.approx([3 * rate for rate in published])


def test_settings_of_training_alone_change_no_architecture() -> None:
    config = parse_recognizer(FAMILIES["swin"])
    trained = FAMILIES["swin"] | {"stochastic_depth": 0.3, "activation_checkpointing": True}
    assert difference(config, trained) is None
    assert difference(config, FAMILIES["swin_masked"]) == ("window", "published", "masked")


@pytest.mark.parametrize("num_frames", [1, 5])
def test_an_odd_number_of_frames_is_refused_with_what_to_do(num_frames: int) -> None:
    with torch.device("meta"):
        model = make("swin")
        with pytest.raises(ValueError, match=rf"multiple of 2 frames.*found {num_frames}; give .* {num_frames + 1}\."):
            model(torch.empty(1, num_frames, 32, 32, 3, dtype=torch.uint8))
