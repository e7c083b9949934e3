from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from reskd.api.training import train_config
from reskd.experiment.stages import load_stages
from tests.reskd.feature_files import experiment, write_features


def test_a_dict_is_trained_as_a_file_would_be_and_a_done_run_is_left(tmp_path: Path) -> None:
    write_features(tmp_path)
    settings: dict[str, Any] = experiment(tmp_path, tmp_path / "runs")
    before = repr(settings)
    (run,) = train_config(settings, "training.epochs=1")
    assert (run / "last.pt").is_file() and (run / "report.md").is_file()
    assert repr(settings) == before
    written = (run / "last.pt").stat().st_mtime_ns
    assert train_config(settings, "training.epochs=1") == [run]
    assert (run / "last.pt").stat().st_mtime_ns == written


def test_a_base_is_found_among_the_shipped_configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (config,) = load_stages({"base": "configs/demo/baseline.yaml", "name": "other", "optimizer": {"lr": 0.5}})
    assert (config.name, config.optimizer.lr) == ("other", 0.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimzer": {}}, "settings: unknown key optimzer; did you mean optimizer?"),
        ({"base": "configs/demo/none.yaml"}, "settings: base: expected a config file at configs/demo/none.yaml"),
        ({"name": 3}, "settings: name"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        train_config({**experiment(tmp_path, tmp_path / "runs"), **change})
    assert message in str(caught.value)


def test_without_the_extra_nothing_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    with pytest.raises(ValueError, match="expected torchmetrics, found none"):
        train_config(experiment(tmp_path, tmp_path / "runs"))
