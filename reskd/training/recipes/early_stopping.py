"""Ends a run whose validations have stopped improving (Prechelt 1998, doi:10.1007/3-540-49430-8_3)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import Field

from dali_pipes.config import StrictConfig

log = logging.getLogger(__name__)


class EarlyStoppingConfig(StrictConfig):
    patience: int = Field(
        ge=1, le=1_000_000, description="validations in a row without an improvement after which the run ends"
    )
    min_delta: float = Field(
        0.0,
        ge=0,
        allow_inf_nan=False,
        description="an improvement of training.selection_metric is larger than this, compared with the last one",
    )


class EarlyStopping:
    """Counts the validations since the last improvement. Its state is part of a checkpoint.

    All ranks see the same metrics, so all stop after the same step.

    Args:
        config: None: the run never stops early.
        is_better: (score, than=other) -> whether a score of the selection metric is better.
    """

    def __init__(self, config: EarlyStoppingConfig | None, is_better: Callable[..., bool]) -> None:
        self._config, self._is_better = config, is_better
        self._reference: float | None = None
        self._num_waited = 0

    @property
    def is_over(self) -> bool:
        """Whether the run ends here."""
        return self._config is not None and self._num_waited >= self._config.patience

    def count(self, score: float | None) -> None:
        """One validation's value of the selection metric."""
        if self._config is None or score is None:
            return
        reference, delta = self._reference, self._config.min_delta
        is_far = reference is None or abs(score - reference) > delta
        if is_far and self._is_better(score, than=reference):
            self._reference, self._num_waited = score, 0
        else:
            self._num_waited += 1

    def log_end(self, num_steps: int, total_steps: int) -> None:
        """Say why a run ends at this step."""
        log.info(
            "the run ends at step %d of %d: %d validations in a row without an improvement (training.early_stopping); "
            "the best value was %.4g",
            *(num_steps, total_steps, self._num_waited, self._reference),
        )

    def state(self) -> dict[str, Any]:
        """Plain values for a checkpoint; empty if the run never stops early."""
        if self._config is None:
            return {}
        return {"early_stopping": {"reference": self._reference, "num_waited": self._num_waited}}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Of a whole checkpoint; one without this state begins the count."""
        saved = state.get("early_stopping") or {}
        self._reference, self._num_waited = saved.get("reference"), saved.get("num_waited", 0)


def stopped_early(state: Mapping[str, Any], config: EarlyStoppingConfig | None) -> bool:
    """Whether the run of a checkpoint ended at it under ``config``."""
    stopping = EarlyStopping(config, lambda score, than: False)
    stopping.load_state(state)
    return stopping.is_over
