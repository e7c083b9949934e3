"""Draws a student's input and answer, a row per video."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from reskd.pages.svg import shortened

MAX_FRAMES_A_LINE = 16
MAX_ROWS = 50  # image viewers do not open longer sheets
_DPI = 100
_WIDTH_INCHES, _TEXT_INCHES, _GAP_INCHES = 14.0, 3.4, 0.15
_MAX_FRAME_INCHES = 1.6
_LINE_INCHES = 0.17  # of text
_NAME_COLUMNS = 44


class SheetRow(NamedTuple):
    """One video: its name, (class, score) pairs from the highest score down, and uint8 RGB frames."""

    name: str
    answers: Sequence[tuple[str, float]]
    frames_THWC: np.ndarray


def draw_contact_sheet(rows: Sequence[SheetRow], path: Path) -> None:
    """Write a PNG of the rows, with pixels enlarged without interpolation.

    Raises:
        ValueError: no rows, or more than ``MAX_ROWS``.
        OSError: the file cannot be written.
    """
    if not 1 <= len(rows) <= MAX_ROWS:
        raise ValueError(f"contact sheet: expected 1 to {MAX_ROWS} videos, found {len(rows)}.")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    texts = [_text(row) for row in rows]
    strips = [film_strip(row.frames_THWC) for row in rows]
    sizes = [_strip_inches(row.frames_THWC, strip) for row, strip in zip(rows, strips, strict=True)]
    heights = [
        max(height, _LINE_INCHES * (text.count("\n") + 1)) + _GAP_INCHES
        for (_, height), text in zip(sizes, texts, strict=True)
    ]
    total = sum(heights) + _GAP_INCHES
    figure = Figure(figsize=(_WIDTH_INCHES, total), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    top = total - _GAP_INCHES
    for strip, (width, height), text, row_height in zip(strips, sizes, texts, heights, strict=True):
        box = (_TEXT_INCHES / _WIDTH_INCHES, (top - height) / total, width / _WIDTH_INCHES, height / total)
        axis = figure.add_axes(box)
        axis.imshow(strip, interpolation="nearest", aspect="auto")
        axis.set_axis_off()
        # parse_math: a class or a file may be called "$x$".
        figure.text(_GAP_INCHES / _WIDTH_INCHES, top / total, text, va="top", fontsize=9, parse_math=False)
        top -= row_height
    figure.savefig(path, format="png")


def film_strip(frames_THWC: np.ndarray) -> np.ndarray:
    """uint8 RGB: the frames side by side, in lines of ``MAX_FRAMES_A_LINE``, with white between them."""
    num_frames, height, width, _ = frames_THWC.shape
    columns = min(num_frames, MAX_FRAMES_A_LINE)
    gap = max(1, width // 32)
    lines = -(-num_frames // columns)
    strip = np.full((lines * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for number, frame in enumerate(frames_THWC):
        line, column = divmod(number, columns)
        y, x = line * (height + gap), column * (width + gap)
        strip[y : y + height, x : x + width] = frame
    return strip


def _strip_inches(frames_THWC: np.ndarray, strip: np.ndarray) -> tuple[float, float]:
    """(width, height) on the sheet: as wide as possible, with frames of at most ``_MAX_FRAME_INCHES``."""
    room = _WIDTH_INCHES - _TEXT_INCHES - _GAP_INCHES
    width = min(room, _MAX_FRAME_INCHES * strip.shape[1] / max(frames_THWC.shape[1:3]))
    return width, width * strip.shape[0] / strip.shape[1]


def _text(row: SheetRow) -> str:
    name = textwrap.wrap(row.name, _NAME_COLUMNS)[-3:] or [""]
    answers = [f"{score:7.1%}  {shortened(label, 32)}" for label, score in row.answers]
    return "\n".join([*name, *answers])
