from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import binary_average_precision, multiclass_calibration_error

from reskd.reports.answers import Answers, average_precision, calibration, write_answers


def make_answers(num_videos: int = 60, num_classes: int = 7, *, seed: int = 0, several: bool = False) -> Answers:
    rng = np.random.default_rng(seed)
    scores_NK = rng.dirichlet(np.full(num_classes, 0.4), num_videos).astype(np.float32)
    right_NK = np.eye(num_classes, dtype=bool)[rng.integers(0, num_classes - 1, num_videos)]  # the last has no video
    if several:
        right_NK |= rng.random(right_NK.shape) < 0.2
    videos = [f"a,b/{n}\u00e9.mp4" for n in range(num_videos)]
    names = ["left", 'quoted "name"', *(f"class {k}" for k in range(2, num_classes))]
    return Answers(videos, names, scores_NK, right_NK, 3, {"gone.mp4": "bad: no frame"})


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_video_has_its_line_with_its_best_answers(tmp_path: Path) -> None:
    answers = make_answers(several=True)
    predictions, classes = write_answers(answers, tmp_path / "evaluation_test.student")
    assert (predictions.name, classes.name) == (
        "evaluation_test.student.predictions.csv",
        "evaluation_test.student.classes.csv",
    )
    rows = rows_of(predictions)
    assert [row["path"] for row in rows] == [*answers.videos, "gone.mp4"]
    for row, scores_K, right_K in zip(rows, answers.scores_NK, answers.right_NK, strict=False):
        order = np.argsort(-scores_K, kind="stable")[:5]
        assert [row[f"answer_{n + 1}"] for n in range(5)] == [answers.class_names[k] for k in order]
        assert float(row["score_1"]) == pytest.approx(scores_K[order[0]], abs=1e-4)
        assert row["label"].split("|") == [answers.class_names[k] for k in np.nonzero(right_K)[0]]
        assert row["right"] == str(int(right_K[order[0]])) and row["views"] == "3"
    assert (rows[-1]["no_score_because"], rows[-1]["answer_1"], rows[-1]["right"]) == ("bad: no frame", "", "")


def test_every_class_has_its_line(tmp_path: Path) -> None:
    answers = make_answers()
    rows = {row["class"]: row for row in rows_of(write_answers(answers, tmp_path / "x")[1])}
    assert list(rows) == list(answers.class_names)
    labels_N, top_N = answers.right_NK.argmax(1), answers.scores_NK.argmax(1)
    for k, name in enumerate(answers.class_names[:-1]):
        row, own = rows[name], labels_N == k
        assert (int(row["videos"]), int(row["answers"])) == (own.sum(), (top_N == k).sum())
        assert float(row["recall"]) == pytest.approx((top_N[own] == k).mean(), abs=1e-4)
        mistakes = np.bincount(top_N[own & (top_N != k)], minlength=7)
        assert int(row["times"]) == mistakes.max() and row["taken_for"] == answers.class_names[mistakes.argmax()]
    last = rows[answers.class_names[-1]]
    assert (last["videos"], last["recall"], last["average_precision"], last["times"]) == ("0", "", "", "0")


@pytest.mark.parametrize("levels", [3, 1000])
def test_average_precision_is_that_of_torchmetrics_also_with_ties(levels: int) -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        scores_N = rng.integers(0, levels, 40) / levels
        right_N = rng.random(40) < 0.3
        expected = binary_average_precision(torch.tensor(scores_N), torch.tensor(right_N).long()).item()
        assert average_precision(scores_N, right_N) == pytest.approx(expected, abs=1e-6)
    assert np.isnan(average_precision(scores_N, np.zeros(40, bool)))


def test_calibration_is_that_of_torchmetrics() -> None:
    answers = make_answers(500)
    found = calibration(answers)
    labels_N = torch.tensor(answers.right_NK.argmax(1))
    expected = multiclass_calibration_error(torch.tensor(answers.scores_NK), labels_N, 7, n_bins=15, norm="l1")
    assert found.error == pytest.approx(expected.item(), abs=1e-6)
    assert found.count_B.sum() == 500


def test_two_classes_have_two_answers(tmp_path: Path) -> None:
    rows = rows_of(write_answers(make_answers(4, 3), tmp_path / "x")[0])
    assert "answer_3" in rows[0] and "answer_4" not in rows[0]
