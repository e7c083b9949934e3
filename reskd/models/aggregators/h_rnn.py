"""H-RNN: an LSTM over the frames of each block, and one over the blocks (Bhardwaj et al., CVPR 2019).

Shape letters: N videos, T frames, G blocks of L frames, B = N * G, D channels, S a block's state, E embedding.

Note [Steps that are not there]
nn.LSTM runs over all steps of all sequences, which a GPU does in one call. Packed sequences would need the lengths on
the CPU, and a training step must not wait for the device. So the missing steps are moved to the front, where they
leave the state at exactly zero: the bias is the weight of one more input, which is 1 at a valid step and 0 at a missing
one. Where all inputs and the state are 0, every gate's sum is 0, so the new cell is
sigmoid(0) * 0 + sigmoid(0) * tanh(0) = 0, and so is the hidden state. Gradients of such steps are products with these
zeros, so they do not change the weights.

So the biases are the last column of weight_ih_l0, and the optimizer treats them as weights, with the weights' decay and
learning rate. A separate parameter would have to be joined to the weights in each pass: on a CPU 60 cpu-ms beside the
200 of all LSTMs (published sizes, one video of 30 frames).
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reskd.models.aggregators.aggregator import Aggregator
from reskd.models.aggregators.config import HRnnConfig
from reskd.models.aggregators.masking import at_least_fp32, without_autocast, without_invalid

State = tuple[Tensor, Tensor]  # of one layer: hidden, cell; each (1, B, H)


class HRnn(Aggregator):
    """E = 2 * layers * hidden size: cell and hidden state of each layer of the upper LSTM after the last block.

    Blocks are runs of L consecutive frames; a block without a valid frame is skipped. The embedding is 0 where no
    frame is valid.
    """

    def __init__(self, config: HRnnConfig, feature_dim: int) -> None:
        super().__init__()
        self.block_length = config.block_length
        self.embedding_dim = 2 * config.num_layers * config.hidden_dim
        self.lower = SkippingLstm(feature_dim, config.hidden_dim, num_layers=config.num_layers)
        self.upper = SkippingLstm(self.embedding_dim, config.hidden_dim, num_layers=config.num_layers)

    def forward(self, features_NTD: Tensor, valid_NT: Tensor | None = None) -> Tensor:
        embedding_NE: Tensor = self.upper(*self._blocks(features_NTD, valid_NT))
        return embedding_NE

    def num_blocks(self, num_frames: int) -> int:
        return -(-num_frames // self.block_length)

    def block_states(self, features_NTD: Tensor, valid_NT: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.upper.every_state(*self._blocks(features_NTD, valid_NT))

    def _blocks(self, features_NTD: Tensor, valid_NT: Tensor | None) -> tuple[Tensor, Tensor]:
        """(states_NGS of the lower LSTM, bool (N, G): the block has a valid frame)."""
        if valid_NT is None:
            valid_NT = torch.ones_like(features_NTD[..., 0], dtype=torch.bool)
        block_length = min(self.block_length, features_NTD.shape[1])
        missing = -features_NTD.shape[1] % block_length
        features_NTD, valid_NT = F.pad(features_NTD, (0, 0, 0, missing)), F.pad(valid_NT, (0, missing))
        features_NGLD = features_NTD.unflatten(1, (-1, block_length))
        valid_NGL = valid_NT.unflatten(1, (-1, block_length))
        states_BS = self.lower(features_NGLD.flatten(0, 1), valid_NGL.flatten(0, 1))
        # unflatten, because export has a batch of unknown size and a known G.
        return states_BS.unflatten(0, (-1, features_NGLD.shape[1])), valid_NGL.any(-1)


class SkippingLstm(nn.Module):
    """LSTM layers over the valid steps of each sequence; returns their last state.

    See Note [Steps that are not there].

    Args:
        input_dim: length of a step's vector.
        hidden_dim: of each layer.
    """

    def __init__(self, input_dim: int, hidden_dim: int, *, num_layers: int) -> None:
        super().__init__()
        sizes = [input_dim] + [hidden_dim] * (num_layers - 1)
        layers = [nn.LSTM(size + 1, hidden_dim, bias=False, batch_first=True) for size in sizes]
        for layer in layers:
            _set_biases(layer.all_weights[0][0], hidden_dim=hidden_dim)
        self.layers = nn.ModuleList(layers)

    def forward(self, steps_BLD: Tensor, valid_BL: Tensor) -> Tensor:
        """state_BS: c_1, h_1, c_2, h_2, ... of the layers after the last valid step; zeros where no step is valid.

        Args:
            steps_BLD: floating point.
            valid_BL: bool.
        """
        inputs_BLD, valid_BL = _missing_first(steps_BLD, valid_BL)
        states: list[Tensor] = []
        for layer in self.layers:
            bias_BL1 = valid_BL[..., None].to(inputs_BLD.dtype)
            inputs_BLD, (hidden_1BH, cell_1BH) = _run(layer, torch.cat((inputs_BLD, bias_BL1), -1))
            # Not [0]: torch 2.6 exports both with an extra axis of size 1.
            states += [cell_1BH.flatten(0, -2), hidden_1BH.flatten(0, -2)]
        return torch.cat(states, -1)

    def every_state(self, steps_BLD: Tensor, valid_BL: Tensor) -> tuple[Tensor, Tensor]:
        """(states_BLS, valid_BL): the state after each step. Missing steps come first, with zeros.

        One step at a time, since nn.LSTM returns the cells of the last one only. ``steps_BLD`` and ``valid_BL`` as in
        forward, whose state is the last one here, up to rounding.
        """
        inputs_BLD, valid_BL = _missing_first(steps_BLD, valid_BL)
        bias_BL1 = valid_BL[..., None].to(inputs_BLD.dtype)
        before: list[State | None] = [None] * len(self.layers)
        states: list[Tensor] = []
        for input_B1D, bias_B11 in zip(inputs_BLD.split(1, 1), bias_BL1.split(1, 1), strict=True):
            parts: list[Tensor] = []
            for index, layer in enumerate(self.layers):
                with_bias_B1D = torch.cat((input_B1D, bias_B11.to(input_B1D.dtype)), -1)
                input_B1D, (hidden_1BH, cell_1BH) = _run(layer, with_bias_B1D, before[index])
                before[index] = hidden_1BH, cell_1BH
                parts += [cell_1BH[0], hidden_1BH[0]]
            states.append(torch.cat(parts, -1))
        return torch.stack(states, 1), valid_BL


def _missing_first(steps_BLD: Tensor, valid_BL: Tensor) -> tuple[Tensor, Tensor]:
    """Both in the order of the steps, but the missing ones first, and these 0."""
    # False before True. Keys are unique, as ONNX has no stable sort.
    num_steps = valid_BL.shape[1]
    order_BL = (valid_BL * num_steps + torch.arange(num_steps, device=valid_BL.device)).argsort(dim=1)
    valid_BL = valid_BL.gather(1, order_BL)
    inputs_BLD = steps_BLD.gather(1, order_BL[..., None].expand_as(steps_BLD))
    return without_invalid(inputs_BLD, valid_BL), valid_BL


def _run(layer: nn.Module, inputs_BLD: Tensor, before: State | None = None) -> tuple[Tensor, State]:
    """Run one LSTM layer from the state ``before`` (None: zeros); on a CPU under autocast, in fp32.

    oneDNN has no LSTM in fp16, and one in bf16 only on processors with AVX-512.
    """
    in_fp32 = inputs_BLD.device.type == "cpu" and torch.is_autocast_enabled("cpu")
    with without_autocast(inputs_BLD) if in_fp32 else nullcontext():
        answer: tuple[Tensor, State] = layer(at_least_fp32(inputs_BLD) if in_fp32 else inputs_BLD, before)
    return answer


@torch.no_grad()
def _set_biases(weight_ih: Tensor, *, hidden_dim: int) -> None:
    """0, but 1 for the forget gate, so a new layer remembers (Gers et al., 2000; TensorFlow's default)."""
    weight_ih[:, -1] = 0
    weight_ih[hidden_dim : 2 * hidden_dim, -1] = 1
