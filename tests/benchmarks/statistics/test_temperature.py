from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.statistics.temperature import calibrated, main, splits_of
from reskd.statistics.metrics import metrics_of
from reskd.statistics.predictions import Predictions, join_predictions
from reskd.study.archive import read_archive
from reskd.study.config import load_study
from reskd.study.plan import plan_study
from tests.reskd.study.tiny_study import tiny_study

ROOT = Path(__file__).parents[3]


def split(number: int, *, certainty: float) -> Predictions:
    """100 videos of 4 classes, of which about 6 in 10 are answered right."""
    generator = np.random.default_rng(number)
    labels_N = generator.integers(4, size=100)
    logits_NK = generator.normal(size=(100, 4)) + 1.5 * np.eye(4)[labels_N]
    names = tuple(f"{number}/{row:03}" for row in range(100))
    return Predictions(names, names, labels_N, (certainty * logits_NK).astype(np.float32))


def test_a_network_that_is_too_certain_is_calibrated_by_other_videos() -> None:
    splits = [split(number, certainty=5) for number in range(3)]
    before, after = (metrics_of(join_predictions(answers)) for answers in (splits, calibrated(splits)))
    true = metrics_of(
        join_predictions([split(number, certainty=1.5) for number in range(3)])
    )  # its noise has unit size
    assert before["top1"] == after["top1"]
    assert before["log_loss"] > 1.3 * true["log_loss"]
    assert after["log_loss"] == pytest.approx(true["log_loss"], rel=0.02)


def test_a_video_has_no_say_in_its_own_temperature() -> None:
    splits = [split(number, certainty=1) for number in range(3)]
    changed = [split(0, certainty=4), *splits[1:]]
    ratio = calibrated(changed)[0].logits_NK / calibrated(splits)[0].logits_NK
    assert ratio == pytest.approx(4)


def test_arms_of_a_kept_study_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    path = ROOT / "studies" / "ucf10_models.yaml"
    plan = plan_study(load_study(path))
    read_archive(plan, ROOT / "docs" / "results" / "ucf10_models" / "results.zip")
    main([str(path), "student_of_imagenet", "student_of_large_small"])
    rows = capsys.readouterr().out.splitlines()
    assert rows[0].startswith("| metric | student_of_imagenet | student_of_large_small |")
    assert [row.split(" | ")[0] for row in rows[2:]] == ["| top-1", "| mAP", "| mean class accuracy", "| log loss"]
    assert " | 84.4 | 81.2 | +3.2 | " in rows[2]  # as in docs/results/ucf10_tables.md: a temperature changes no answer
    with pytest.raises(ValueError, match="ucf10_models: expected an arm of the study, found nobody"):
        splits_of(plan, "nobody")


def test_a_study_without_splits_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="tiny: expected a study with repeat, pool and no other axis"):
        splits_of(plan_study(tiny_study(tmp_path)), "student")
