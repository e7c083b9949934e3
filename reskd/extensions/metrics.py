"""Metrics of the user's, beside those of reskd/evaluation/metrics.py.

A metric is anything that can be called with (scores_NK, labels_N), such as a metric of torchmetrics: its function is
called as ``build(num_classes=K, **arguments)`` for each pass over a list. The scores are probabilities, float32 on the
CPU, of all videos that count, in the order of the list and the same on every rank; labels are int64 class indices, or
int64 (N, K) of 0 and 1 where videos have several labels. It returns one number, which is logged as ``val/NAME``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

from reskd.extensions.config import MadeByCode
from reskd.extensions.locate import make, reason_of


def compute_metrics(wanted: Mapping[str, MadeByCode], scores_NK: Tensor, labels: Tensor) -> dict[str, float]:
    """Name -> value of each metric.

    Raises:
        ValueError: a function is missing, a metric fails, or it returns something else than a finite number.
    """
    values = {}
    for name, one in wanted.items():
        key = f"metrics.{name}.build"
        metric = make(one.build, "metric", key=key, arguments=one.arguments, num_classes=scores_NK.shape[1])
        try:
            value = metric(scores_NK, labels)
            number = float(value)
        except Exception as error:
            raise ValueError(f"{key}: the metric failed with {reason_of(error)}.") from error
        if not math.isfinite(number):
            raise ValueError(f"{key}: expected a finite number, found {number}; change the metric.")
        values[name] = number
    return values
