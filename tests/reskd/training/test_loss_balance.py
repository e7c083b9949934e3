"""The sizes of a loss's terms in the first step: what is told, and when there is a warning."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from reskd.losses.config import LossConfig
from reskd.training.loss_balance import TermBalance, balance_of, read, table, warning
from reskd.training.run_directory import RunDirectory
from tests.reskd.training.test_trainer import read_lines
from tests.reskd.training.tiny import make_trainer


def test_the_table_has_a_row_a_term() -> None:
    terms = balance_of({"loss/task": 2.0, "loss/embedding": 1234.5, "loss/total": 9}, {"task": 1, "embedding": 0.001})
    assert terms == [TermBalance("task", 2.0, 1), TermBalance("embedding", 1234.5, 0.001)]
    assert table(terms).splitlines()[2:] == ["| task | 2 | 1 | 2 |", "| embedding | 1234 | 0.001 | 1.234 |"]


def test_a_term_that_is_more_than_100_times_another_is_named_with_it_and_the_settings() -> None:
    terms = [TermBalance("task", 30.0, 1), TermBalance("prediction", 0.5, 1), TermBalance("embedding", 2.0, 2000)]
    found = warning(terms, when="in the first step")
    assert found is not None
    assert "the embedding term, weighted, is 8000 times the prediction term in the first step (4e+03 and 0.5)" in found
    assert (
        "set loss.embedding.alpha lower or loss.prediction.alpha higher" in found and "0.001 for the embedding" in found
    )


@pytest.mark.parametrize(
    "terms",
    [
        [TermBalance("task", 1.0, 1), TermBalance("embedding", 100.0, 1)],
        [TermBalance("task", 1.0, 0), TermBalance("embedding", 1e6, 1)],  # left out on purpose
        [TermBalance("task", 1.0, 1)],
        [TermBalance("task", 2.0, 1), TermBalance("pixel", 3.0, 100)],  # the papers' own weights
        [TermBalance("prediction", 1e-3, 0.01), TermBalance("embedding", 500.0, 0.001)],
    ],
)
def test_terms_of_one_size_or_left_out_are_no_reason_to_warn(terms: list[TermBalance]) -> None:
    assert warning(terms, when="in the first step") is None


def test_other_weights_are_named_for_the_papers_terms_alone() -> None:
    code, prediction, pixel = (
        TermBalance("embedding", 500.0, 1),
        TermBalance("prediction", 1.0, 1),
        TermBalance("pixel", 500.0, 1),
    )
    assert "The configs of NeXtVLAD have" in (warning([code, prediction], when="then") or "")
    assert "NeXtVLAD" not in (warning([pixel, prediction], when="then") or "NeXtVLAD")


def test_a_term_of_0_is_dwarfed_by_any_other() -> None:
    found = warning([TermBalance("task", 1.0, 1), TermBalance("pixel", 0.0, 100)], when="in the first step")
    assert found is not None and "task term, weighted, is beyond any multiple of the pixel term" in found
    assert "NeXtVLAD" not in found  # whose weights make terms smaller


def test_a_fresh_run_tells_and_keeps_the_sizes_and_a_resumed_one_leaves_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loss = LossConfig.model_validate({"pixel": {"alpha": 1e6}, "embedding": {"alpha": 1}})
    with caplog.at_level(logging.INFO):
        trainer = make_trainer(tmp_path, loss=loss, log_every_steps=3)
        trainer.fit()
    terms = read(RunDirectory(tmp_path).loss_balance)
    assert [(term.name, term.weight) for term in terms] == [("task", 1.0), ("pixel", 1e6), ("embedding", 1.0)]
    assert table(terms) in caplog.text and "the pixel term, weighted, is" in caplog.text
    assert terms[0].unweighted != read_lines(tmp_path)[0]["loss/task"]  # a mean of three steps
    RunDirectory(tmp_path).loss_balance.write_text("[]")
    second = make_trainer(tmp_path, loss=loss, epochs=5)
    second.load_state(trainer.state())
    second.fit()
    assert read(RunDirectory(tmp_path).loss_balance) == []


def test_the_task_alone_is_no_table(tmp_path: Path) -> None:
    make_trainer(tmp_path, alpha=None).fit()
    assert not RunDirectory(tmp_path).loss_balance.exists()
