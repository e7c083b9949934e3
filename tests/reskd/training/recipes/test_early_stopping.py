from __future__ import annotations

import logging

import pytest

from reskd.training.plan import TrainingConfig
from reskd.training.recipes.early_stopping import EarlyStopping, EarlyStoppingConfig, stopped_early


def stopping(patience: int = 2, min_delta: float = 0.0, metric: str = "top1") -> EarlyStopping:
    config = TrainingConfig.model_validate(
        {
            "epochs": 9,
            "global_batch_size": 2,
            "selection_metric": metric,
            "early_stopping": {"patience": patience, "min_delta": min_delta},
        }
    )
    return EarlyStopping(config.early_stopping, config.is_better)


def scores_until_the_end(one: EarlyStopping, scores: list[float]) -> int:
    for number, score in enumerate(scores, start=1):
        one.count(score)
        if one.is_over:
            return number
    return 0


def test_it_ends_after_so_many_validations_without_an_improvement() -> None:
    assert scores_until_the_end(stopping(), [0.1, 0.3, 0.2, 0.4, 0.4, 0.39, 0.9]) == 6
    assert scores_until_the_end(stopping(1), [0.1, 0.1]) == 2
    assert scores_until_the_end(stopping(3), [0.1, 0.2, 0.3, 0.4]) == 0


def test_an_improvement_of_log_loss_is_a_lower_value() -> None:
    assert scores_until_the_end(stopping(metric="log_loss"), [2.0, 1.5, 1.6, 1.7]) == 4


def test_a_small_improvement_does_not_count_but_several_add_up() -> None:
    assert scores_until_the_end(stopping(2, 0.05), [0.1, 0.14, 0.149]) == 3
    assert scores_until_the_end(stopping(2, 0.05), [0.1, 0.14, 0.16, 0.2, 0.22]) == 0


def test_its_state_goes_on_where_it_was() -> None:
    first = stopping()
    first.count(0.5)
    first.count(0.4)
    second = stopping()
    second.load_state(first.state())
    assert not second.is_over
    second.count(0.5)
    assert second.is_over
    assert stopped_early(second.state(), EarlyStoppingConfig(patience=2))
    assert not stopped_early(second.state(), EarlyStoppingConfig(patience=3))  # --set gave it more patience
    assert not stopped_early(second.state(), None)


def test_without_settings_it_never_ends_and_saves_nothing() -> None:
    never = EarlyStopping(None, lambda score, than: True)
    never.count(0.1)
    assert not never.is_over and never.state() == {}
    never.load_state({})


def test_the_log_says_why(caplog: pytest.LogCaptureFixture) -> None:
    one = stopping()
    assert scores_until_the_end(one, [0.5, 0.1, 0.1]) == 3
    with caplog.at_level(logging.INFO):
        one.log_end(30, 90)
    assert "the run ends at step 30 of 90: 2 validations in a row without an improvement" in caplog.text
    assert "best value was 0.5" in caplog.text
