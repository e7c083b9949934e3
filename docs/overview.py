"""Draw the README's picture: the two views, the loss and the result of make demo.

    python docs/overview.py          # writes docs/overview.png

The frames are those of the demo's first training clip, and the numbers those of docs/results/demo.csv.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from PIL import Image

from dali_pipes.synthetic.videos import HEIGHT, SUPPORT, WIDTH, Pixels, render_scene_clips

FOLDER = Path(__file__).resolve().parent
SIZES = {"teacher": 64, "student": 48}
FRAMES = (1, 5, 9, 13)
COLORS = {"teacher": "#3b6ea8", "baseline": "#9a9a9a", "student": "#d2691e"}


def main() -> None:
    figure = Figure(figsize=(13, 4.6), dpi=110, facecolor="white")
    FigureCanvasAgg(figure)
    canvas = figure.add_axes((0, 0, 0.7, 1))
    canvas.set(xlim=(0, 9.1), ylim=(0, 4.6))
    canvas.axis("off")
    _draw_method(canvas)
    _draw_views(figure)
    _draw_result(figure.add_axes((0.76, 0.2, 0.22, 0.64)))
    figure.savefig(FOLDER / "overview.png")


def _draw_method(axis: Axes) -> None:
    """Boxes and arrows, in inches."""
    _box(axis, (0.1, 1.85), (1.1, 0.9), "video\ndecoded\nonce", "#555555")
    for name, y, text in (("teacher", 3.3, "teacher\n(frozen)"), ("student", 0.9, "student\n(trained)")):
        _box(axis, (4.75, y - 0.45), (1.2, 0.9), text, COLORS[name])
        _arrow(axis, (1.25, 2.3), (1.75, y))
        _arrow(axis, (4.25, y), (4.7, y))
        _arrow(axis, (6.0, y), (6.65, 2.3 + (0.35 if y > 2.3 else -0.35)))
    _box(axis, (6.7, 1.6), (2.2, 1.4), "loss =\ntask(labels)\n+ $\\alpha$ MSE(features)", "#444444")
    axis.text(5.35, 2.3, "feature maps", ha="center", va="center", fontsize=10, color="#555555")
    size = SIZES["teacher"]
    axis.text(3.0, 4.18, f"teacher's view: {size} x {size}", ha="center", fontsize=11, color=COLORS["teacher"])
    size = SIZES["student"]
    axis.text(3.0, 0.12, f"student's view: {size} x {size}", ha="center", fontsize=11, color=COLORS["student"])


def _draw_views(figure: Figure) -> None:
    """Four frames of a clip as each network sees them, at one scale."""
    clip = next(render_scene_clips(0, split="train", scene=0))
    top, left = (HEIGHT - SUPPORT) // 2, (WIDTH - SUPPORT) // 2
    side = 0.6
    for name, center in (("teacher", 3.3), ("student", 0.9)):
        shown = side * SIZES[name] / SIZES["teacher"]
        for column, number in enumerate(FRAMES):
            frame = clip.frames_THWC[number, top : top + SUPPORT, left : left + SUPPORT]
            x, y = 1.8 + 0.62 * column + (side - shown) / 2, center - shown / 2
            axis = figure.add_axes((x / 13, y / 4.6, shown / 13, shown / 4.6))
            axis.imshow(_resized(frame, name), interpolation="nearest")
            axis.set(xticks=[], yticks=[])


def _resized(frame_HWC: Pixels, name: str) -> Pixels:
    """The student's view is made from the teacher's, as in training."""
    image = Image.fromarray(frame_HWC)
    for step in ("teacher", "student"):
        image = image.resize((SIZES[step], SIZES[step]), Image.Resampling.BILINEAR)
        if step == name:
            break
    return np.asarray(image)


def _draw_result(axis: Axes) -> None:
    """A line for each run, from teacher to baseline to student; dashed on the second processor."""
    with (FOLDER / "results/demo.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    runs = dict.fromkeys((row["processor"], row["seed"]) for row in rows)
    for number, run in enumerate(runs):
        of_run = [row for row in rows if (row["processor"], row["seed"]) == run]
        xs = [list(COLORS).index(row["model"]) + 0.06 * (number - (len(runs) - 1) / 2) for row in of_run]
        top1s = [100 * float(row["top1"]) for row in of_run]
        axis.plot(xs, top1s, "-" if run[0] == rows[0]["processor"] else "--", color="#cccccc", lw=1.2, zorder=1)
        for x, top1, row in zip(xs, top1s, of_run, strict=True):
            axis.errorbar(x, top1, 100 * float(row["standard_error"]), fmt="o", color=COLORS[row["model"]], capsize=3)
    sizes = {row["model"]: f"{row['size']} px\n{row['gmacs_per_video']} GMACs" for row in rows}
    axis.set_xticks(range(len(COLORS)), [f"{name}\n{sizes[name]}" for name in COLORS], fontsize=9)
    axis.set(xlim=(-0.5, len(COLORS) - 0.5), ylim=(0, 105), ylabel="top-1 (%)")
    axis.set_title("make demo, a line a run", fontsize=11)
    axis.spines[["top", "right"]].set_visible(False)


def _box(axis: Axes, corner: tuple[float, float], size: tuple[float, float], text: str, color: str) -> None:
    axis.add_patch(FancyBboxPatch(corner, *size, boxstyle="round,pad=0.04", facecolor="white", edgecolor=color, lw=2))
    middle = (corner[0] + size[0] / 2, corner[1] + size[1] / 2)
    axis.text(*middle, text, ha="center", va="center", fontsize=11, color=color)


def _arrow(axis: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axis.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=14, color="#777777", lw=1.4))


if __name__ == "__main__":
    sys.exit(main())
