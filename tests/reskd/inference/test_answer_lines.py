from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

from reskd.inference.answer_lines import scores_as_text


def test_a_small_share_is_not_called_nothing() -> None:
    names = ("archery", "bowling", "curling", "diving")
    student: Any = SimpleNamespace(top=lambda scores_K, count: [*zip(names, scores_K.tolist(), strict=True)][:count])
    scores_K = torch.tensor([0.999, 0.0005, 0.0004, 0.0])
    assert scores_as_text(student, scores_K, 4) == "archery 99.9%, bowling 0.1%, curling <0.1%, diving 0.0%"
    assert scores_as_text(student, scores_K, 1) == "archery 99.9%"
