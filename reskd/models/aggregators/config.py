"""Settings of aggregators (frames to one embedding) and of classifiers (embedding to class scores).

Defaults are the sizes of "Efficient Video Classification Using Fewer Frames" (H-RNN) and of the public recipes of its
other families. The first feature group is the large one (rgb); every further group (audio) gets half of the first
group's value, as in both recipes.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from dali_pipes.config import StrictConfig

_Dropout = Annotated[float, Field(ge=0, lt=1)]


class MeanConfig(StrictConfig):
    kind: Literal["mean"] = Field(description="the mean of the valid frames; E is the length of a frame's vector")


class HRnnConfig(StrictConfig):
    kind: Literal["h_rnn"] = Field(description="an LSTM over the frames of each block, a second one over the blocks")
    block_length: int = Field(
        15, ge=1, le=10_000, description="frames per block: 15 of 300 in the paper's teacher, 6 of 30 in its student"
    )
    hidden_dim: int = Field(1024, ge=1, le=65_536, description="of every LSTM layer; with 2 layers, E is 4 times this")
    num_layers: int = Field(2, ge=1, le=32, description="of each of the two LSTMs")


class NetVladConfig(StrictConfig):
    kind: Literal["netvlad"] = Field(description="NetVLAD of each feature group, a hidden layer and context gating")
    num_clusters: int = Field(
        256, ge=1, le=65_536, description="of the first feature group; every further one has half as many"
    )
    hidden_dim: int = Field(1024, ge=1, le=65_536, description="E")


class NextVladConfig(StrictConfig):
    kind: Literal["nextvlad"] = Field(description="NeXtVLAD of each feature group, a hidden layer and gates")
    num_clusters: int = Field(
        128, ge=1, le=65_536, description="of the first feature group; every further one has half as many"
    )
    expansion: int = Field(2, ge=1, le=64, description="factor by which a frame's vector grows")
    num_splits: int = Field(
        8,
        ge=1,
        description="parts that the longer vector is split into, each assigned on its own (the recipe's groups); of "
        "the first feature group, every further one has half as many",
    )
    hidden_dim: int = Field(2048, ge=1, le=65_536, description="E")
    gating_reduction: int = Field(8, ge=1, le=65_536, description="E divided by the width inside the gates")
    dropout: _Dropout = Field(0.5, description="before the hidden layer, in training")


AggregatorConfig = Annotated[
    MeanConfig | HRnnConfig | NetVladConfig | NextVladConfig,
    Field(discriminator="kind"),
]


class LinearHeadConfig(StrictConfig):
    """A logistic head is a linear one; loss.task decides whether its scores pass through a sigmoid."""

    kind: Literal["linear", "logistic"] = Field(
        description="one linear layer; both names mean the same, as loss.task makes the scores softmax or, with "
        "sigmoid_bce, logistic"
    )
    dropout: _Dropout = Field(0.0, description="before the layer, in training")
    init_std: float = Field(0.001, gt=0, description="standard deviation of the new weights; biases are 0")


class MixtureOfExpertsConfig(StrictConfig):
    kind: Literal["mixture_of_experts"] = Field(
        description="each class has its own logistic experts and gates that weight them; trained with sigmoid_bce"
    )
    num_experts: int = Field(2, ge=1, le=1024, description="of each class, besides the dummy that always predicts no")
    gate_probabilities: bool = Field(
        False, description="multiply the probabilities by gates computed from all of them, an option of Willow's recipe"
    )
    dropout: _Dropout = Field(0.0, description="before the layer, in training")


ClassifierConfig = Annotated[
    LinearHeadConfig | MixtureOfExpertsConfig,
    Field(discriminator="kind"),
]


def answering_settings(config: AggregatorConfig | ClassifierConfig, *, prefix: str) -> dict[str, Any]:
    """The settings that change the outputs of given weights, as ``prefix.name`` -> plain value."""
    settings = config.model_dump(mode="json", exclude={"dropout", "init_std"})
    if settings["kind"] == "logistic":
        settings["kind"] = "linear"
    return {f"{prefix}.{name}": value for name, value in settings.items()}
