"""The answers behind an evaluation's totals: each video's, each class's, and pictures of confusion and calibration.

Shape letters: N scored videos, K classes, A answers of a video.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from dali_pipes.atomic_files import atomic_write_text

_MOST_ANSWERS = 5


@dataclass(frozen=True)
class Answers:
    """The scores of an evaluation.

    Args:
        videos: names of the scored videos, N of them.
        class_names: K names.
        scores_NK: probabilities, softmax or sigmoid.
        right_NK: bool, True at each of a video's labels.
        num_views: test views of a video, whose scores were averaged.
        unscored: names of listed videos without a score -> the reason.
    """

    videos: Sequence[str]
    class_names: Sequence[str]
    scores_NK: np.ndarray
    right_NK: np.ndarray
    num_views: int
    unscored: Mapping[str, str]

    @property
    def first_NA(self) -> np.ndarray:
        """The numbers of the best classes, best first, at most five."""
        count = min(_MOST_ANSWERS, len(self.class_names))
        best_NA = np.argpartition(-self.scores_NK, count - 1, axis=1)[:, :count]
        order_NA = np.argsort(-np.take_along_axis(self.scores_NK, best_NA, 1), axis=1, kind="stable")
        return np.take_along_axis(best_NA, order_NA, 1)

    @property
    def has_one_label(self) -> bool:
        """Whether every video has exactly one label."""
        return bool((self.right_NK.sum(1) == 1).all())


def write_answers(answers: Answers, stem: Path) -> list[Path]:
    """Write ``STEM.predictions.csv`` and ``STEM.classes.csv``; returns their paths.

    predictions.csv has a line for each listed video: path, label (several as a|b), right (whether the best answer is a
    label), the best answers with their scores, the test views, and for a video without a score the reason.

    classes.csv has a line for each class: its videos, the share found (recall) and the share of right among the answers
    (precision), its average precision, and the class that it is most often taken for.
    """
    predictions, classes = (stem.with_name(f"{stem.name}.{name}.csv") for name in ("predictions", "classes"))
    _write(predictions, _prediction_lines(answers))
    _write(classes, _class_lines(answers))
    return [predictions, classes]


def _prediction_lines(answers: Answers) -> list[list[object]]:
    names = answers.class_names
    first_NA = answers.first_NA
    columns = [f"{kind}_{number + 1}" for number in range(first_NA.shape[1]) for kind in ("answer", "score")]
    lines: list[list[object]] = [["path", "label", "right", *columns, "views", "no_score_because"]]
    for video, right_K, scores_K, first_A in zip(
        answers.videos, answers.right_NK, answers.scores_NK, first_NA, strict=True
    ):
        label = "|".join(names[k] for k in np.nonzero(right_K)[0].tolist())
        cells = [cell for k in first_A for cell in (names[k], f"{scores_K[k]:.4f}")]
        lines.append([video, label, int(right_K[first_A[0]]), *cells, answers.num_views, ""])
    lines += [[video, "", "", *[""] * len(columns), 0, reason] for video, reason in answers.unscored.items()]
    return lines


def _class_lines(answers: Answers) -> list[list[object]]:
    top_N, num_classes = answers.first_NA[:, 0], len(answers.class_names)
    is_right_N = answers.right_NK[np.arange(len(top_N)), top_N]
    lines: list[list[object]] = [
        ["class", "videos", "recall", "answers", "precision", "average_precision", "taken_for", "times"]
    ]
    for k, name in enumerate(answers.class_names):
        own_N, taken_N = answers.right_NK[:, k], top_N == k
        wrong = np.bincount(top_N[own_N & ~is_right_N], minlength=num_classes)
        most = int(wrong.argmax()) if wrong.any() else None
        lines.append(
            [
                name,
                int(own_N.sum()),
                _share(int((own_N & taken_N).sum()), int(own_N.sum())),
                int(taken_N.sum()),
                _share(int((own_N & taken_N).sum()), int(taken_N.sum())),
                _number(average_precision(answers.scores_NK[:, k], own_N)),
                "" if most is None else answers.class_names[most],
                0 if most is None else int(wrong[most]),
            ]
        )
    return lines


def average_precision(scores_N: np.ndarray, right_N: np.ndarray) -> float:
    """torchmetrics' binary_average_precision of a class's scores, which are in [0, 1]; NaN without a video."""
    from torchmetrics.functional.classification import binary_average_precision

    if not right_N.any():
        return float("nan")
    return float(binary_average_precision(torch.from_numpy(scores_N), torch.from_numpy(right_N).long()))


@dataclass(frozen=True)
class Calibration:
    """How often answers of a certainty are right (Guo et al. 2017, arXiv:1706.04599, eq. 2 and 3).

    Args:
        certainty_B, right_B: means of each bin of equal width of the best answer's score; bins without a video are left
            out.
        count_B: videos of each.
        error: the expected calibration error, the mean over videos of |certainty - right| of their bin.
    """

    certainty_B: np.ndarray
    right_B: np.ndarray
    count_B: np.ndarray
    error: float


def calibration(answers: Answers, num_bins: int = 15) -> Calibration:
    """Of the best answers; 15 bins as in the paper."""
    top_N = answers.first_NA[:, 0]
    rows = np.arange(len(top_N))
    certainty_N, right_N = answers.scores_NK[rows, top_N], answers.right_NK[rows, top_N]
    bin_N = np.minimum((certainty_N * num_bins).astype(int), num_bins - 1)
    count = np.bincount(bin_N, minlength=num_bins)
    there = count > 0
    certainty = np.bincount(bin_N, certainty_N, num_bins)[there] / count[there]
    right = np.bincount(bin_N, right_N.astype(float), num_bins)[there] / count[there]
    error = float((np.abs(certainty - right) * count[there]).sum() / max(1, count.sum()))
    return Calibration(certainty, right, count[there], error)


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.4f}" if whole else ""


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.4f}"


def _write(path: Path, lines: Sequence[Sequence[object]]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(lines)
    atomic_write_text(path, text.getvalue(), errors="surrogateescape")
