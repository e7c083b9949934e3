"""One temperature that makes a network's scores say how often they are right.

Note [Why a temperature]
A network may classify well and still be too certain: a score of 0.99 that is right in 90 of 100 cases. Divided by one
number, the temperature, its logits keep their order, so no answer changes (Guo et al., On Calibration of Modern Neural
Networks, ICML 2017, section 4). The number is chosen by the log loss on videos that trained nothing.

Shape letters: N videos, K classes.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor

from reskd.choices import ScoreKind
from reskd.evaluation.metrics import label_set_losses

_LOWEST, _HIGHEST = 0.05, 20.0
_SHRINK = (math.sqrt(5) - 1) / 2  # of golden-section search
_TURNS = 30  # to a millionth of the range


class Temperature(NamedTuple):
    """The best temperature, and the log loss in nats without and with it."""

    value: float
    log_loss_before: float
    log_loss: float


def fit_temperature(logits_NK: Tensor, right_NK: Tensor, scores: ScoreKind) -> Temperature | None:
    """The temperature from 0.05 to 20 with the lowest log loss.

    The loss, the mean of ``label_set_losses``, has one lowest point in the logarithm of the temperature, as it is
    convex in 1 / temperature.

    Args:
        right_NK: bool, each video's labels.

    Returns:
        None where no temperature in this range is the best, as where every answer is right.
    """
    logits_NK = logits_NK.double()

    def loss(log_temperature: float) -> float:
        return float(label_set_losses(logits_NK / math.exp(log_temperature), right_NK, scores).mean())

    low, high = math.log(_LOWEST), math.log(_HIGHEST)
    for _ in range(_TURNS):
        first, second = high - _SHRINK * (high - low), low + _SHRINK * (high - low)
        if loss(first) <= loss(second):
            high = second
        else:
            low = first
    found = (low + high) / 2
    if min(found - math.log(_LOWEST), math.log(_HIGHEST) - found) < 1e-3:
        return None
    return Temperature(math.exp(found), loss(0.0), loss(found))
