"""Draw the figures of method.md.

    python docs/method_figures.py    # writes docs/method_pixels.png, method_levels.png and method_frames.png

The frames are those of the demo's first training clip; the feature maps are examples, not measured.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from dali_pipes.synthetic.videos import HEIGHT, SUPPORT, WIDTH, Pixels, render_scene_clips

FOLDER = Path(__file__).resolve().parent
TEACHER, STUDENT, LOSS, PLAIN = "#3b6ea8", "#d2691e", "#444444", "#777777"


def main() -> None:
    clip = next(render_scene_clips(0, split="train", scene=0))
    top, left = (HEIGHT - SUPPORT) // 2, (WIDTH - SUPPORT) // 2
    frames_THWC = clip.frames_THWC[:, top : top + SUPPORT, left : left + SUPPORT]
    for name, height, draw in (
        ("pixels", 4.6, _draw_pixels),
        ("levels", 3.5, _draw_levels),
        ("frames", 4.2, _draw_frames),
    ):
        figure = Figure(figsize=(12, height), dpi=110, facecolor="white")
        FigureCanvasAgg(figure)
        axis = figure.add_axes((0, 0, 1, 1))
        axis.set(xlim=(0, 12), ylim=(0, height), aspect="equal")
        axis.axis("off")
        draw(axis, frames_THWC)
        figure.savefig(FOLDER / f"method_{name}.png")


def _draw_pixels(axis: Axes, frames_THWC: Pixels) -> None:
    """From two views to the two terms of the loss."""
    teacher_HWC, student_HWC = _shrunk(frames_THWC[1], 64), _shrunk(frames_THWC[1], 32)
    student_map_HW = np.array([[0.25, 0.75], [0.55, 0.9]])
    enlarged_HW = cv2.resize(student_map_HW, (4, 4), interpolation=cv2.INTER_LINEAR)
    noise_HW = np.random.default_rng(3).normal(0, 0.12, (4, 4))

    _picture(axis, teacher_HWC, (1.2, 3.2), 1.6, TEACHER)
    _text(axis, (1.2, 4.25), "teacher's view: S x S", TEACHER)
    _picture(axis, student_HWC, (1.2, 1.0), 0.8, STUDENT)
    _text(axis, (1.2, 0.28), "student's view: S/2 x S/2", STUDENT)
    _arrow(axis, (1.2, 2.3), (1.2, 1.5), "shrunk")

    _box(axis, (3.4, 3.2), (1.2, 0.8), "teacher\n(frozen)", TEACHER)
    _box(axis, (3.4, 1.0), (1.2, 0.8), "student\n(trained)", STUDENT)
    _arrow(axis, (2.1, 3.2), (2.7, 3.2))
    _arrow(axis, (1.7, 1.0), (2.7, 1.0))

    _map(axis, np.clip(enlarged_HW + noise_HW, 0, 1), (5.4, 3.2), 1.2, TEACHER)
    _text(axis, (5.4, 4.1), "feature map, H x W", TEACHER)
    _map(axis, student_map_HW, (5.4, 1.0), 0.6, STUDENT)
    _text(axis, (5.4, 0.28), "feature map, H/2 x W/2", STUDENT)
    _arrow(axis, (4.1, 3.2), (4.7, 3.2))
    _arrow(axis, (4.1, 1.0), (5.0, 1.0))

    _map(axis, enlarged_HW, (7.6, 1.9), 1.2, STUDENT)
    _text(axis, (7.6, 1.02), "enlarged bilinearly", STUDENT)
    _arrow(axis, (5.8, 1.0), (6.9, 1.7))
    _box(axis, (9.9, 2.9), (2.6, 0.8), "MSE of each location\nand channel, times alpha", LOSS)
    _arrow(axis, (6.1, 3.2), (8.5, 3.05))
    _arrow(axis, (8.3, 2.1), (9.0, 2.4))
    _box(axis, (9.9, 0.6), (2.6, 0.8), "cross-entropy of\nthe labels", LOSS)
    _arrow(axis, (5.8, 0.85), (8.5, 0.6), "mean over space and\nframes, classifier", (7.35, 0.3))
    _text(axis, (9.9, 1.75), "+", LOSS, 20)


def _draw_levels(axis: Axes, frames_THWC: Pixels) -> None:
    """What the student is told at each level, from one vector a clip to one a location."""
    rng = np.random.default_rng(1)
    levels = (
        ("clip", "K class scores\nof the clip", "KL"),
        ("frame", "K class scores\nof each frame", "KL"),
        ("logit_map", "K class scores\nof each location", "KL"),
        ("pixel", "D features\nof each location", "MSE"),
    )
    for column, (name, text, distance) in enumerate(levels):
        x = 1.5 + 3 * column
        _text(axis, (x, 3.15), f"loss.{name}", LOSS, 13)
        _text(axis, (x, 0.45), f"{text}, {distance}", PLAIN)
        if name in ("clip", "frame"):
            for number in range(1 if name == "clip" else 4):
                center = (x + (0 if name == "clip" else 0.6 * (number - 1.5)), 1.9)
                _map(axis, rng.uniform(0, 1, (6, 1)), center, 0.2, STUDENT, height=1.2)
        else:
            for number in reversed(range(4)):
                center = (x - 0.3 + 0.2 * number, 1.75 + 0.12 * number)
                _map(axis, rng.uniform(0, 1, (4, 4)), center, 1.2, STUDENT)
    _arrow(axis, (0.6, 1.0), (11.4, 1.0), "more is told", (6, 1.14))


def _draw_frames(axis: Axes, frames_THWC: Pixels) -> None:
    """All frames for the teacher, k of them for the student, and the three terms."""
    frames_THWC, shown = frames_THWC[:16], range(1, 16, 4)
    for number in range(len(frames_THWC)):
        frame_HWC = _shrunk(frames_THWC[number], 32)
        _picture(axis, frame_HWC, (0.55 + 0.32 * number, 3.3), 0.3, TEACHER)
        if number in shown:
            _picture(axis, frame_HWC, (0.55 + 0.32 * number, 0.9), 0.3, STUDENT)
    middle = 0.55 + 0.16 * (len(frames_THWC) - 1)
    _text(axis, (middle, 3.75), f"teacher: all {len(frames_THWC)} frames", TEACHER)
    _text(axis, (middle, 0.4), f"student: k = {len(shown)} of them", STUDENT)
    right = 0.85 + 0.32 * len(frames_THWC)
    for y, color in ((3.3, TEACHER), (0.9, STUDENT)):
        _box(axis, (right + 0.9, y), (1.2, 0.7), "aggregator", color)
        _arrow(axis, (right - 0.2, y), (right + 0.25, y))
        _arrow(axis, (right + 1.55, y), (right + 1.95, y))
        _box(axis, (right + 2.55, y), (1.1, 0.7), "embedding", color)
        _arrow(axis, (right + 3.15, y), (right + 3.55, y))
        _box(axis, (right + 4.1, y), (1.0, 0.7), "scores", color)
    for x, text in ((right + 2.55, "L_rep:\nsquared distance"), (right + 4.1, "L_pred:\ndistance")):
        _text(axis, (x, 2.1), text, LOSS)
        _arrow(axis, (x, 2.9), (x, 2.4))
        _arrow(axis, (x, 1.3), (x, 1.8))
    _text(axis, (right + 4.1, 0.3), "L_CE: the labels", LOSS)


def _shrunk(frame_HWC: Pixels, size: int) -> Pixels:
    return np.asarray(cv2.resize(frame_HWC, (size, size), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _picture(axis: Axes, image_HWC: Pixels, center: tuple[float, float], side: float, color: str) -> None:
    _image(axis, image_HWC, center, (side, side), color)


def _map(
    axis: Axes,
    values_HW: np.ndarray,
    center: tuple[float, float],
    width: float,
    color: str,
    *,
    height: float | None = None,
) -> None:
    """A grid of values between 0 and 1, from white to ``color``."""
    rgb = np.array([int(color[start : start + 2], 16) for start in (1, 3, 5)]) / 255
    _image(axis, 1 - values_HW[..., None] * (1 - rgb), center, (width, height or width), color, is_grid=True)


def _image(
    axis: Axes,
    image_HWC: np.ndarray,
    center: tuple[float, float],
    size: tuple[float, float],
    color: str,
    is_grid: bool = False,
) -> None:
    left, bottom = center[0] - size[0] / 2, center[1] - size[1] / 2
    extent = (left, left + size[0], bottom, bottom + size[1])
    order = axis.get_children().__len__()  # later pictures lie over earlier ones
    axis.imshow(image_HWC, extent=extent, interpolation="nearest", zorder=order)
    rows, columns = image_HWC.shape[:2] if is_grid else (1, 1)
    for row in range(rows + 1):
        y = bottom + size[1] * row / rows
        axis.plot(extent[:2], (y, y), color=color, lw=1, zorder=order + 0.1)
    for column in range(columns + 1):
        x = left + size[0] * column / columns
        axis.plot((x, x), extent[2:], color=color, lw=1, zorder=order + 0.1)


def _box(axis: Axes, center: tuple[float, float], size: tuple[float, float], text: str, color: str) -> None:
    corner = (center[0] - size[0] / 2, center[1] - size[1] / 2)
    axis.add_patch(FancyBboxPatch(corner, *size, boxstyle="round,pad=0.04", facecolor="white", edgecolor=color, lw=2))
    _text(axis, center, text, color)


def _arrow(
    axis: Axes,
    start: tuple[float, float],
    end: tuple[float, float],
    text: str = "",
    place: tuple[float, float] | None = None,
) -> None:
    axis.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=14, color=PLAIN, lw=1.4))
    if text:
        middle = place or ((start[0] + end[0]) / 2 + 0.4, (start[1] + end[1]) / 2)
        _text(axis, middle, text, PLAIN)


def _text(axis: Axes, place: tuple[float, float], text: str, color: str, size: int = 10) -> None:
    axis.text(*place, text, ha="center", va="center", fontsize=size, color=color, zorder=1000)


if __name__ == "__main__":
    sys.exit(main())
