"""Builds an aggregator from its config."""

from __future__ import annotations

from collections.abc import Mapping

from reskd.models.aggregators.aggregator import Aggregator, Mean
from reskd.models.aggregators.config import AggregatorConfig, HRnnConfig, MeanConfig, NetVladConfig
from reskd.models.aggregators.h_rnn import HRnn
from reskd.models.aggregators.netvlad import NetVlad
from reskd.models.aggregators.nextvlad import NextVlad


def build_aggregator(config: AggregatorConfig, group_sizes: Mapping[str, int]) -> Aggregator:
    """An aggregator with random weights.

    Args:
        group_sizes: name of a feature group -> length of a frame's vector, in order of concatenation.

    Raises:
        ValueError: the sizes do not fit together.
    """
    if isinstance(config, MeanConfig):
        return Mean(sum(group_sizes.values()))
    if isinstance(config, HRnnConfig):
        return HRnn(config, sum(group_sizes.values()))
    if isinstance(config, NetVladConfig):
        return NetVlad(config, group_sizes)
    return NextVlad(config, group_sizes)
