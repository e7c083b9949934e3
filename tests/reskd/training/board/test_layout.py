from __future__ import annotations

from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2

from reskd.training.board.layout import layout_of
from reskd.training.tensorboard_log import Board
from tests.reskd.training.tiny import make_trainer


def titles_in(folder: Path) -> list[str]:
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0}).Reload()
    last = events.Tensors("custom_scalars__config__")[-1].tensor_proto.string_val[0]
    layout = layout_pb2.Layout.FromString(last)
    return [chart.title for category in layout.category for chart in category.chart]


def test_only_charts_with_a_curve_are_shown() -> None:
    assert layout_of([]) == {}
    found = layout_of(["loss/total", "speed/data_wait_share", "grad_norm/task"])
    assert {category: list(charts) for category, charts in found.items()} == {
        "A run": ["loss", "share of the time waiting for data"],
        "Teacher and student": ["gradients of the terms"],
    }


def test_a_chart_comes_with_its_first_curve(tmp_path: Path) -> None:
    board = Board(tmp_path, first_step=0)
    board.scalars(1, {"train/top1": 0.1})
    board.scalars(2, {"train/top1": 0.1, "loss/total": 1.0})
    board.scalars(3, {"train/top1": 0.1, "train/top5": 1.0})
    board.close()
    assert titles_in(tmp_path) == ["loss", "accuracy", "top-1: training against validation"]
    events = EventAccumulator(str(tmp_path), size_guidance={"tensors": 0}).Reload()
    assert len(events.Tensors("custom_scalars__config__")) == 2  # not once a step


def test_a_run_shows_the_shares_of_its_loss_only_if_there_are_several_terms(tmp_path: Path) -> None:
    for alpha in (1.0, None):
        trainer = make_trainer(tmp_path / str(alpha), alpha=alpha)
        values = trainer.fit()
        title = "share of each term in the loss"
        assert (title in titles_in(trainer.run.path)) == (alpha is not None)
        shares = {name: value for name, value in values.items() if name.startswith("loss_share/")}
        assert sorted(shares) == (["loss_share/pixel", "loss_share/task"] if alpha else [])
        assert not shares or abs(sum(shares.values()) - 1) < 1e-9
