"""Read back with TensorBoard's own backend of the tab HParams."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2, backend_context, get_experiment, list_session_groups

from reskd.experiment.config import load_config
from reskd.training.board.hyperparameters import NUMBERS, WORDS, hyperparameters_of, metrics_of
from reskd.training.metrics_log import MetricsWriter
from tests.reskd.training.test_trainer import read_lines
from tests.reskd.training.tiny import make_trainer

ROOT = Path(__file__).parents[4]
SETTINGS = {
    "seed": 1,
    "student": {"family": "tsn", "dropout": 0.5},
    "data": {"views": {"student": {"size": [48, 64]}}},
    "optimizer": {"lr": 0.01},
    "loss": {"pixel": {"alpha": "auto"}, "clip": None},
    "training": {"selection_metric": "map", "ema": None},
}


class Table:
    """The tab HParams of a folder of runs."""

    def __init__(self, runs: Path) -> None:
        multiplexer = EventMultiplexer().AddRunsFromDirectory(str(runs)).Reload()
        context = backend_context.Context(TBContext(data_provider=MultiplexerDataProvider(multiplexer, str(runs))))
        asked = RequestContext()
        hparams = context.hparams_metadata(asked, "")
        self.columns = get_experiment.Handler(asked, context, "", api_pb2.GetExperimentRequest()).run()
        self.rows = {}
        metrics = [api_pb2.ColParams(metric=metric.name) for metric in self.columns.metric_infos]
        columns = [api_pb2.ColParams(hparam=one.name) for one in self.columns.hparam_infos]
        request = api_pb2.ListSessionGroupsRequest(slice_size=99, col_params=columns + metrics)
        request.allowed_statuses.extend(api_pb2.Status.values())
        found = list_session_groups.Handler(asked, context, "", request).run()
        for group in found.session_groups:
            for session in group.sessions:
                values = {one.name.tag: one.value for one in session.metric_values}
                assert session.name not in self.rows
                self.rows[session.name] = (dict(group.hparams), values, session.status)
        self.runs = sorted(hparams)


def test_the_row_of_a_run_has_the_settings_that_are_on() -> None:
    assert hyperparameters_of(SETTINGS) == {
        "seed": 1.0,
        "student.family": "tsn",
        "student.dropout": 0.5,
        "data.views.student.size": "48x64",
        "optimizer.lr": 0.01,
    }
    assert metrics_of(SETTINGS)[0] == "val/map" and metrics_of({})[0] == "val/top1"


def test_every_column_is_a_setting_that_exists() -> None:
    """Each key is one of a config with every group on, or of a group that its default leaves off."""
    resolved: Any = load_config(ROOT / "configs/demo/student.yaml", []).resolved()
    off = ("loss.logit_map", "loss.clip", "loss.frame", "loss.embedding", "loss.prediction", "training.ema",
           "training.mixing")  # fmt: skip
    for key in (*WORDS, *NUMBERS):
        group, _, last = key.rpartition(".")
        tree = resolved
        for part in filter(None, group.split(".")):
            tree = tree[part]
        assert (tree is None and group in off) or last in tree, key


def test_a_resumed_run_is_one_row_with_its_latest_metrics(tmp_path: Path) -> None:
    run = tmp_path / "runs/first"
    trainer = make_trainer(run, checkpoint_every_steps=4)
    trainer.description = {**trainer.description, "config": SETTINGS}

    def stop(step: int, values: Any) -> None:
        if step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer.fit(stop)
    ((_, metrics, status),) = Table(tmp_path / "runs").rows.values()
    assert status == api_pb2.STATUS_UNKNOWN and metrics["loss/total"] == pytest.approx(read_lines(run)[3]["loss/total"])
    resumed = make_trainer(run, checkpoint_every_steps=4)
    resumed.description = trainer.description
    resumed.load_state(trainer.state())
    resumed.fit()
    with MetricsWriter(run.with_name("second") / "m.jsonl", run.with_name("second"), first_step=0, settings=SETTINGS):
        pass
    table = Table(tmp_path / "runs")
    assert sorted(table.rows) == table.runs == ["first", "second"]  # no run of a sub-folder
    settings, metrics, status = table.rows["first"]
    assert status == api_pb2.STATUS_SUCCESS
    assert settings["optimizer.lr"].number_value == 0.01 and settings["student.family"].string_value == "tsn"
    last = read_lines(run)[-1]
    assert {name: pytest.approx(last[name]) for name in ("train/top1", "loss/total", "train/epoch")} == {
        name: value for name, value in metrics.items() if name in ("train/top1", "loss/total", "train/epoch")
    }
    assert sorted(one.name for one in table.columns.hparam_infos) == sorted([*WORDS, *NUMBERS])


def test_a_run_without_settings_is_not_in_the_table(tmp_path: Path) -> None:
    make_trainer(tmp_path / "run").fit()
    assert Table(tmp_path).rows == {}
