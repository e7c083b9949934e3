"""Pictures of an evaluation: which classes are taken for which, and whether certain answers are right."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dali_pipes.atomic_files import atomic_open
from reskd.reports.answers import Answers, calibration
from reskd.reports.odd_names import in_picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_CLASSES = 40  # whose names can be read; of more, those with the most mistakes are shown
_NUMBERED = 20  # classes up to which each cell has its number
_LONGEST_NAME = 24


def draw_answers(answers: Answers, stem: Path) -> list[Path]:
    """Write ``STEM.confusion.svg``, for lists of one label a video, and ``STEM.calibration.svg``; returns the paths."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    pictures = []
    if answers.has_one_label and len(answers.videos):
        pictures.append(("confusion", _draw_confusion))
    if len(answers.videos):
        pictures.append(("calibration", _draw_calibration))
    paths = []
    for name, draw in pictures:
        figure = Figure(layout="constrained")
        FigureCanvasSVG(figure)
        draw(answers, figure.subplots())
        paths.append(stem.with_name(f"{stem.name}.{name}.svg"))
        with atomic_open(paths[-1]) as file:
            figure.savefig(file, format="svg", metadata={"Date": None})
    return paths


def confusion_of(answers: Answers) -> np.ndarray:
    """int64 (K, K): videos of the class of the row whose best answer is the class of the column."""
    num_classes = len(answers.class_names)
    labels_N, top_N = answers.right_NK.argmax(1), answers.first_NA[:, 0]
    return np.bincount(labels_N * num_classes + top_N, minlength=num_classes**2).reshape(num_classes, num_classes)


def _draw_confusion(answers: Answers, axes: Axes) -> None:
    counts_KK = confusion_of(answers)
    shown = np.arange(len(counts_KK))
    if len(shown) > _MOST_CLASSES:
        mistakes_K = counts_KK.sum(0) + counts_KK.sum(1) - 2 * counts_KK.diagonal()
        shown = np.sort(np.argsort(-mistakes_K, kind="stable")[:_MOST_CLASSES])
    counts_SS = counts_KK[np.ix_(shown, shown)]
    shares_SS = counts_SS / np.maximum(1, counts_KK[shown].sum(1, keepdims=True))
    names = [in_picture(answers.class_names[int(k)])[:_LONGEST_NAME] for k in shown]
    side = 2.5 + 0.24 * len(shown)
    _resize(axes, side + 1, side)
    axes.imshow(shares_SS, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(shown)), names, rotation=90, fontsize=8)
    axes.set_yticks(range(len(shown)), names, fontsize=8)
    if len(shown) <= _NUMBERED:
        for row, column in zip(*np.nonzero(counts_SS), strict=True):
            color = "white" if shares_SS[row, column] > 0.5 else "black"
            axes.text(column, row, str(counts_SS[row, column]), ha="center", va="center", fontsize=8, color=color)
    right = counts_KK.diagonal().sum() / max(1, counts_KK.sum())
    of = f", the {len(shown)} of {len(counts_KK)} classes with the most mistakes" if len(shown) < len(counts_KK) else ""
    axes.set_title(f"{right:.1%} right: best answers (columns) of each class (rows){of}", fontsize=9, wrap=True)
    axes.set(xlabel="answer", ylabel="class")


def _draw_calibration(answers: Answers, axes: Axes) -> None:
    found = calibration(answers)
    _resize(axes, 5, 4.4)
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle="--", label="as right as certain")
    sizes = 20 + 180 * found.count_B / found.count_B.max()
    axes.scatter(found.certainty_B, found.right_B, s=sizes, color="#0072b2", alpha=0.85, label="answers (area: videos)")
    gap = (found.certainty_B - found.right_B) @ found.count_B / found.count_B.sum()
    how = "too certain" if gap > 0 else "too doubtful"
    axes.set_title(f"{how} by {abs(gap):.1%} on average; calibration error {found.error:.1%}", fontsize=9)
    axes.set(xlabel="score of the best answer", ylabel="share that is right", xlim=(0, 1.02), ylim=(-0.02, 1.02))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="lower right")


def _resize(axes: Axes, width: float, height: float) -> None:
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.set_size_inches(width, height)
