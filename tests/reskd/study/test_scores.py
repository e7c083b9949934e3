from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest

from reskd.study.plan import PlannedRun, plan_study
from reskd.study.scores import RunScores, read_scores, write_scores
from tests.reskd.study.tiny_study import tiny_study


@pytest.fixture
def run(tmp_path: Path) -> PlannedRun:
    return next(iter(plan_study(tiny_study(tmp_path)).runs.values()))


def _scores(sets_NK: np.ndarray | None) -> RunScores:
    return RunScores(
        videos=("a b.mp4", "\udcff.mp4"),
        groups=("scene", "\udcff"),
        labels_N=np.array([2, 0]),
        logits_NK=np.array([[0.5, 1.5, -2.0], [0.25, 0.0, 1e-8]], np.float32),
        sets_NK=sets_NK,
        curves={"top1": ((1.0, 0.25), (2.0, 0.5)), "log_loss": ((1.0, 1.5),)},
    )


@pytest.mark.parametrize("sets_NK", [None, np.array([[True, False, True], [False, True, False]])])
def test_what_is_written_is_read_with_names_that_are_not_utf8(sets_NK: np.ndarray | None, run: PlannedRun) -> None:
    scores, file = _scores(sets_NK), io.BytesIO()
    write_scores(scores, file)
    file.seek(0)
    found = read_scores(file, run)
    assert (found.videos, found.groups, found.curves) == (scores.videos, scores.groups, scores.curves)
    np.testing.assert_array_equal(found.labels_N, scores.labels_N)
    np.testing.assert_array_equal(found.logits_NK, scores.logits_NK)
    if sets_NK is None:
        assert found.sets_NK is None
    else:
        assert found.sets_NK is not None
        np.testing.assert_array_equal(found.sets_NK, sets_NK)


def test_groups_and_curves_of_an_earlier_version_are_those_in_the_runs_folder(run: PlannedRun) -> None:
    file = io.BytesIO()
    np.savez(file, videos=np.array([b"a", b"b"]), labels_N=np.array([0, 1]), logits_NK=np.zeros((2, 3), np.float32))
    run.folder.mkdir(parents=True)
    (run.folder / "splits.csv").write_text("path,label,group,split\nb,x,scene,test\n")
    lines = [{"val/top1": 0.5, "val/named": "x", "train/epoch": 1.0}, {"loss/total": 3.0}, {"val/top1": 0.75}]
    (run.folder / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    file.seek(0)
    found = read_scores(file, run)
    assert found.groups == ("a", "scene")
    assert found.curves == {"top1": ((1.0, 0.5),)}
