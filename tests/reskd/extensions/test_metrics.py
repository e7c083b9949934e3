"""Metrics of the user's, by anything that can be called with scores and labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from reskd.extensions.config import MadeByCode
from reskd.extensions.metrics import compute_metrics

SCORES = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
LABELS = torch.tensor([0, 1, 1])


def compute(build: str, **arguments: Any) -> float:
    return compute_metrics({"mine": MadeByCode(build=build, arguments=arguments)}, SCORES, LABELS)["mine"]


def test_a_metric_of_torchmetrics_needs_no_code() -> None:
    # Class 0: precision 1/2, recall 1: F1 2/3. Class 1: precision 1, recall 1/2: 2/3.
    assert compute("torchmetrics.classification:MulticlassF1Score", average="macro") == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return scores.sum(0)", "metrics.mine.build: the metric failed with (RuntimeError|ValueError)"),
        ("return float('nan')", "expected a finite number, found nan"),
        ("return 'high'", "the metric failed with ValueError"),
    ],
)
def test_what_is_no_number_is_refused(tmp_path: Path, body: str, message: str) -> None:
    text = f"def make(num_classes):\n    def metric(scores, labels):\n        {body}\n    return metric\n"
    (tmp_path / "metric.py").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        compute(f"{tmp_path}/metric.py:make")
