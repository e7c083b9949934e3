"""Pictures of an evaluation: which classes are taken for which, and whether certain answers are right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from dali_pipes.atomic_files import atomic_write_text
from reskd.pages.chart_files import standalone
from reskd.pages.line_charts import Reliability, reliability_chart
from reskd.pages.matrix_chart import matrix_chart
from reskd.pages.svg import Chart, shortened
from reskd.reports.answers import Answers, calibration

_LONGEST_NAME = 24
_MOST_CLASSES = 40  # whose names can be read; of more, those with the most mistakes are shown


def draw_answers(answers: Answers, stem: Path) -> list[Path]:
    """Write ``STEM.confusion.svg``, for lists of one label a video, and ``STEM.calibration.svg``; returns the paths."""
    if not len(answers.videos):
        return []
    charts = {"confusion": confusion_chart(answers)} if answers.has_one_label else {}
    charts["calibration"] = calibration_chart({"answers": answers}, "answers")
    paths = []
    for name, chart in charts.items():
        paths.append(stem.with_name(f"{stem.name}.{name}.svg"))
        atomic_write_text(paths[-1], standalone(chart.svg, chart.title))
    return paths


def confusion_of(answers: Answers) -> np.ndarray:
    """int64 (K, K): videos of the class of the row whose best answer is the class of the column."""
    num_classes = len(answers.class_names)
    labels_N, top_N = answers.right_NK.argmax(1), answers.first_NA[:, 0]
    return np.bincount(labels_N * num_classes + top_N, minlength=num_classes**2).reshape(num_classes, num_classes)


def confusion_chart(answers: Answers) -> Chart:
    """The answers of each class, of many classes those with the most mistakes. For lists of one label a video."""
    counts_KK = confusion_of(answers)
    shown = np.flatnonzero(counts_KK.sum(0) + counts_KK.sum(1))
    num_used = len(shown)
    if num_used > _MOST_CLASSES:
        mistakes_K = counts_KK.sum(0) + counts_KK.sum(1) - 2 * counts_KK.diagonal()
        shown = np.sort(np.argsort(-mistakes_K, kind="stable")[:_MOST_CLASSES])
    right = counts_KK.diagonal().sum() / max(1, counts_KK.sum())
    of = f"; the {len(shown)} of {num_used} classes with the most mistakes" if len(shown) < num_used else ""
    names = [answers.class_names[int(k)] for k in shown]
    title = f"{100 * right:.1f} % of best answers are right{_most_confused(answers.class_names, counts_KK)}{of}"
    return matrix_chart(title, names, counts_KK[np.ix_(shown, shown)], counts_KK[shown].sum(1))


def _most_confused(names: Sequence[str], counts_KK: np.ndarray) -> str:
    wrong_KK = counts_KK - np.diag(counts_KK.diagonal())
    if not wrong_KK.any():
        return ""
    row, column = divmod(int(wrong_KK.argmax()), len(counts_KK))
    taken = f"{shortened(names[row], _LONGEST_NAME)} is taken for {shortened(names[column], _LONGEST_NAME)}"
    return f"; most often {taken} ({wrong_KK[row, column]} times)"


def calibration_chart(models: Mapping[str, Answers], about: str) -> Chart:
    """Whether answers are right as often as their scores say.

    Args:
        models: name -> answers.
        about: the name of the model that the title is about.
    """
    found = {name: calibration(answers) for name, answers in models.items()}
    one = found[about]
    gap = float((one.certainty_B - one.right_B) @ one.count_B / one.count_B.sum())
    how = "too certain" if gap > 0 else "too doubtful"
    of = f"{about}: " if len(found) > 1 else ""
    title = f"{of}{how} by {100 * abs(gap):.1f} % on average; calibration error {100 * one.error:.1f} %"
    points = {
        name: Reliability(one.certainty_B.tolist(), one.right_B.tolist(), one.count_B.tolist())
        for name, one in found.items()
    }
    return reliability_chart(title, points)
