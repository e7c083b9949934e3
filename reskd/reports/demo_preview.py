"""Draws the demo data: each class over time, and the poses at smaller resolutions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from dali_pipes.atomic_files import atomic_open
from dali_pipes.synthetic.videos import CLASSES, HEIGHT, NUM_FRAMES, POSES, SUPPORT, WIDTH, Pixels, render_scene_clips

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

FRAMES_SHOWN = tuple(range(1, NUM_FRAMES, 3))
TEACHER_SIZE, STUDENT_SIZE = 80, 40  # of the picture; the runs of configs/demo have 64 and 48


def draw_preview(seed: int, path: Path) -> None:
    """Write a PNG: a row of frames for each class, then the four poses as the teacher and the student see them."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    clips = [list(render_scene_clips(seed, split="train", scene=k))[k] for k in range(len(CLASSES))]
    figure = Figure(figsize=(13, 12.6), dpi=100, facecolor="white")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 1, height_ratios=(8.2, 3.6))
    top, bottom = figure.add_subfigure(grid[0]), figure.add_subfigure(grid[1])
    top.suptitle("One clip of each class: the slats jump between two poses", fontsize=15, fontweight="bold")
    rows = top.subplots(len(clips), len(FRAMES_SHOWN))
    top.subplots_adjust(left=0.13, right=0.99, top=0.90, bottom=0.01, wspace=0.04, hspace=0.05)
    for axes, clip in zip(rows, clips, strict=True):
        axes[0].set_ylabel(clip.label.replace("-", "\n"), rotation=0, ha="right", va="center", fontsize=13)
        for axis, number in zip(axes, FRAMES_SHOWN, strict=True):
            _show(axis, clip.frames_THWC[number])
    for axis, number in zip(rows[0], FRAMES_SHOWN, strict=True):
        axis.set_title(f"frame {number}", fontsize=10)
    _draw_sizes(bottom, seed)
    with atomic_open(path) as file:
        figure.savefig(file, format="png")


def _draw_sizes(figure: FigureBase, seed: int) -> None:
    """The poses at the size of the center crop, of the teacher's view and of the student's."""
    figure.suptitle("What resolution leaves of a pose: two examples of each", fontsize=15, fontweight="bold")
    columns = [frame for pose in POSES for frame in _examples(seed, pose, 2)]
    rows = figure.subplots(3, len(columns))
    figure.subplots_adjust(left=0.13, right=0.99, top=0.84, bottom=0.01, wspace=0.04, hspace=0.05)
    for axis, name in zip(rows[0], np.repeat(list(POSES), 2), strict=True):
        axis.set_title(name, fontsize=11)
    for axes, size in zip(rows, (SUPPORT, TEACHER_SIZE, STUDENT_SIZE), strict=True):
        axes[0].set_ylabel(f"{size} x {size}", rotation=0, ha="right", va="center", fontsize=13)
        for axis, frame in zip(axes, columns, strict=True):
            _show(axis, shrink(frame, size))


def _examples(seed: int, pose: str, count: int) -> list[Pixels]:
    """Center crops of first frames with the given pose."""
    top, left = (HEIGHT - SUPPORT) // 2, (WIDTH - SUPPORT) // 2
    found: list[Pixels] = []
    scene = 100
    while len(found) < count:
        for clip in render_scene_clips(seed, split="train", scene=scene):
            if clip.poses[0] == pose and len(found) < count:
                found.append(clip.frames_THWC[0, top : top + SUPPORT, left : left + SUPPORT])
                break
        scene += 1
    return found


def shrink(frame_HWC: Pixels, size: int) -> Pixels:
    """A square frame at ``size`` pixels; the student's goes through the teacher's, as in training."""
    image = Image.fromarray(frame_HWC)
    for step in (TEACHER_SIZE, STUDENT_SIZE):
        if size <= step < image.width:
            image = image.resize((step, step), Image.Resampling.BILINEAR)
    return np.asarray(image)


def _show(axis: Axes, frame: Pixels) -> None:
    axis.imshow(frame, interpolation="nearest")
    axis.set(xticks=[], yticks=[])
