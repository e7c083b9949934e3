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
        if valid_NT is None:
            valid_NT = torch.ones_like(features_NTD[..., 0], dtype=torch.bool)
        block_length = min(self.block_length, features_NTD.shape[1])
        missing = -features_NTD.shape[1] % block_length
        features_NTD, valid_NT = F.pad(features_NTD, (0, 0, 0, missing)), F.pad(valid_NT, (0, missing))
        features_NGLD = features_NTD.unflatten(1, (-1, block_length))
        valid_NGL = valid_NT.unflatten(1, (-1, block_length))
        states_BS = self.lower(features_NGLD.flatten(0, 1), valid_NGL.flatten(0, 1))
        # unflatten, because export has a batch of unknown size and a known G.
        states_NGS = states_BS.unflatten(0, (-1, features_NGLD.shape[1]))
        embedding_NE: Tensor = self.upper(states_NGS, valid_NGL.any(-1))
        return embedding_NE


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
        # False before True, otherwise in order. Keys are unique, as ONNX has no stable sort.
        num_steps = valid_BL.shape[1]
        order_BL = (valid_BL * num_steps + torch.arange(num_steps, device=valid_BL.device)).argsort(dim=1)
        valid_BL = valid_BL.gather(1, order_BL)
        inputs_BLD = steps_BLD.gather(1, order_BL[..., None].expand_as(steps_BLD))
        inputs_BLD = without_invalid(inputs_BLD, valid_BL)
        states: list[Tensor] = []
        for layer in self.layers:
            bias_BL1 = valid_BL[..., None].to(inputs_BLD.dtype)
            inputs_BLD, (hidden_1BH, cell_1BH) = _run(layer, torch.cat((inputs_BLD, bias_BL1), -1))
            # Not [0]: torch 2.6 exports both with an extra axis of size 1.
            states += [cell_1BH.flatten(0, -2), hidden_1BH.flatten(0, -2)]
        return torch.cat(states, -1)


def _run(layer: nn.Module, inputs_BLD: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Run one LSTM layer; on a CPU under autocast, in fp32.

    oneDNN has no LSTM in fp16, and one in bf16 only on processors with AVX-512.
    """
    in_fp32 = inputs_BLD.device.type == "cpu" and torch.is_autocast_enabled("cpu")
    with without_autocast(inputs_BLD) if in_fp32 else nullcontext():
        answer: tuple[Tensor, tuple[Tensor, Tensor]] = layer(at_least_fp32(inputs_BLD) if in_fp32 else inputs_BLD)
    return answer


@torch.no_grad()
def _set_biases(weight_ih: Tensor, *, hidden_dim: int) -> None:
    """0, but 1 for the forget gate, so a new layer remembers (Gers et al., 2000; TensorFlow's default)."""
    weight_ih[:, -1] = 0
    weight_ih[hidden_dim : 2 * hidden_dim, -1] = 1
