"""Small aggregators, and what they answer in NumPy and slow loops, written from the papers and not from the modules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter
from torch import Tensor, nn

from reskd.models.aggregators.aggregator import Aggregator
from reskd.models.aggregators.build import build_aggregator
from reskd.models.aggregators.config import AggregatorConfig

Array = NDArray[np.float64]
GROUPS = {"rgb": 6, "audio": 4}
SETTINGS: dict[str, dict[str, Any]] = {
    "mean": {"kind": "mean"},
    "h_rnn": {"kind": "h_rnn", "block_length": 3, "hidden_dim": 5},
    "netvlad": {"kind": "netvlad", "num_clusters": 5, "hidden_dim": 7},
    "nextvlad": {"kind": "nextvlad", "num_clusters": 5, "num_splits": 4, "hidden_dim": 16, "gating_reduction": 4},
}


def make_aggregator(kind: str, groups: Mapping[str, int] = GROUPS, **settings: Any) -> Aggregator:
    """fp64, the same weights every time, every running statistic and batch norm weight other than at the start."""
    torch.manual_seed(0)
    config = TypeAdapter(AggregatorConfig).validate_python(SETTINGS[kind] | settings)
    aggregator = build_aggregator(config, groups).double()
    for module in aggregator.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            assert module.running_mean is not None and module.running_var is not None
            for tensor in (module.weight.data, module.running_var):
                tensor.uniform_(0.5, 2)
            for tensor in (module.bias.data, module.running_mean):
                tensor.normal_(std=0.5)
    return aggregator


def make_features(num_videos: int, num_frames: int, groups: Mapping[str, int] = GROUPS) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.randn(num_videos, num_frames, sum(groups.values()), dtype=torch.float64, generator=generator)


def reference(aggregator: Aggregator, frames_TD: Array, kind: str) -> Array:
    """code_E of one video whose frames are all valid, in eval mode."""
    weights = {name: value.detach().numpy() for name, value in aggregator.state_dict().items()}
    if kind == "mean":
        return frames_TD.mean(0) if len(frames_TD) else np.zeros(frames_TD.shape[1])
    if kind == "h_rnn":
        return _h_rnn(weights, frames_TD, block_length=SETTINGS["h_rnn"]["block_length"])
    return (_netvlad if kind == "netvlad" else _nextvlad)(weights, frames_TD)


def _h_rnn(weights: Mapping[str, Array], frames_TD: Array, *, block_length: int) -> Array:
    blocks = [frames_TD[start : start + block_length] for start in range(0, len(frames_TD), block_length)]
    states = [_lstm(weights, "lower", block) for block in blocks]
    return _lstm(weights, "upper", states)


def _lstm(weights: Mapping[str, Array], name: str, steps: Any) -> Array:
    """Two layers, one step after another; the last column of the input weights is the bias."""
    hidden_dim = weights[f"{name}.layers.0.weight_hh_l0"].shape[1]
    state = np.zeros((2, 2, hidden_dim))  # of each layer, cell and hidden
    for step in steps:
        for layer in range(2):
            input_weights = weights[f"{name}.layers.{layer}.weight_ih_l0"]
            cell, hidden = state[layer]
            sums = input_weights[:, :-1] @ step + input_weights[:, -1]
            sums = sums + weights[f"{name}.layers.{layer}.weight_hh_l0"] @ hidden
            into, keep, new, out = sums.reshape(4, hidden_dim)
            cell = _sigmoid(keep) * cell + _sigmoid(into) * np.tanh(new)
            step = _sigmoid(out) * np.tanh(cell)
            state[layer] = cell, step
    return state.reshape(-1)


def _netvlad(weights: Mapping[str, Array], frames_TD: Array) -> Array:
    vectors = []
    for name, part_TD in _parts(frames_TD).items():
        prefix = f"groups.{name}_vlad"
        centers_KD = weights[f"{prefix}.centers_KD"]
        sums_KD = np.zeros_like(centers_KD)
        for frame_D in part_TD:
            shares_K = _softmax(_norm(weights, f"{prefix}.assign_norm", weights[f"{prefix}.assign.weight"] @ frame_D))
            for cluster, share in enumerate(shares_K):
                sums_KD[cluster] += share * (frame_D - centers_KD[cluster])
        vectors.append(_unit(np.concatenate([_unit(row) for row in sums_KD])))
    hidden_E = weights["hidden.weight"] @ np.concatenate(vectors) + weights["hidden.bias"]
    return hidden_E * _sigmoid(_norm(weights, "gate_norm", weights["gate.weight"] @ hidden_E))


def _nextvlad(weights: Mapping[str, Array], frames_TD: Array) -> Array:
    vectors = []
    for name, part_TD in _parts(frames_TD).items():
        prefix = f"groups.{name}_vlad"
        centers_Kd = weights[f"{prefix}.centers_Kd"]
        num_clusters, split_dim = centers_Kd.shape
        sums_Kd = np.zeros_like(centers_Kd)
        for frame_D in part_TD:
            longer = weights[f"{prefix}.expand.weight"] @ frame_D + weights[f"{prefix}.expand.bias"]
            attention_S = _sigmoid(weights[f"{prefix}.attend.weight"] @ longer + weights[f"{prefix}.attend.bias"])
            scores = _norm(weights, f"{prefix}.assign_norm", weights[f"{prefix}.assign.weight"] @ longer)
            for split, attention in enumerate(attention_S):
                shares_K = _softmax(scores[split * num_clusters : (split + 1) * num_clusters])
                point_d = longer[split * split_dim : (split + 1) * split_dim]
                for cluster, share in enumerate(shares_K):
                    sums_Kd[cluster] += attention * share * (point_d - centers_Kd[cluster])
        vectors.append(_norm(weights, f"{prefix}.norm", np.concatenate([_unit(row) for row in sums_Kd])))
    hidden_E = _norm(weights, "hidden_norm", weights["hidden.weight"] @ np.concatenate(vectors))
    squeezed = np.maximum(_norm(weights, "squeeze_norm", weights["squeeze.weight"] @ hidden_E), 0)
    return hidden_E * _sigmoid(weights["excite.weight"] @ squeezed)


def _parts(frames_TD: Array) -> dict[str, Array]:
    ends = np.cumsum(list(GROUPS.values()))
    return dict(zip(GROUPS, np.split(frames_TD, ends[:-1], axis=1), strict=True))


def _norm(weights: Mapping[str, Array], name: str, values: Array) -> Array:
    """Batch norm with running statistics."""
    deviation = np.sqrt(weights[f"{name}.running_var"] + 1e-5)
    normalized = (values - weights[f"{name}.running_mean"]) / deviation
    return normalized * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def _unit(vector: Array) -> Array:
    length = np.sqrt((vector**2).sum())
    return vector / length if length > 0 else vector


def _softmax(scores: Array) -> Array:
    powers = np.exp(scores - scores.max())
    return powers / powers.sum()


def _sigmoid(values: Array) -> Array:
    return 1 / (1 + np.exp(-values))
