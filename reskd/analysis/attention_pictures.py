"""The contact sheet and the video of overlays: a clip's frame, then each network's overlay with its answer."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import av
import numpy as np

from dali_pipes.atomic_files import atomic_open

if TYPE_CHECKING:
    from PIL import ImageFont

_PANEL_INCHES, _TITLE_INCHES, _GAP_INCHES, _DPI = 2.1, 0.4, 0.3, 100
_RIGHT, _WRONG, _PLAIN = "#1a7f37", "#b3261e", "#222222"
_FRAMES_PER_SECOND = 4
_PANEL_HEIGHT, _BAR_PIXELS, _FONT_PIXELS = 240, 26, 15  # of the video


class Panel(NamedTuple):
    """A network's overlays on the frames of a clip, uint8 RGB, and its answer."""

    frames_THWC: np.ndarray
    answer: str
    is_right: bool


class ClipPanels(NamedTuple):
    """A clip's frames, uint8 RGB, its class, and the networks' panels."""

    frames_THWC: np.ndarray
    class_name: str
    panels: Sequence[Panel]

    def columns(self, number: int) -> list[tuple[np.ndarray, str, str]]:
        """(picture, text, color of the text) of frame ``number``: the frame itself, then the panels."""
        colors = [_RIGHT if panel.is_right else _WRONG for panel in self.panels]
        of_networks = [
            (panel.frames_THWC[number], panel.answer, color) for panel, color in zip(self.panels, colors, strict=True)
        ]
        return [(self.frames_THWC[number], self.class_name, _PLAIN), *of_networks]


def draw_sheet(titles: Sequence[str], clips: Sequence[ClipPanels], path: Path) -> None:
    """Write a PNG: a row for each clip with its middle frame, a column for each of ``titles``."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    aspect = clips[0].frames_THWC.shape[1] / clips[0].frames_THWC.shape[2]
    width = _PANEL_INCHES * len(titles)
    row_inches = _PANEL_INCHES * aspect + _GAP_INCHES
    height = row_inches * len(clips) + _TITLE_INCHES
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    for column, title in enumerate(titles):
        text = "\n".join(textwrap.wrap(title, 28)[:2])
        x = (column + 0.5) * _PANEL_INCHES / width
        y = 1 - _TITLE_INCHES / 2 / height
        figure.text(x, y, text, ha="center", va="center", fontsize=9, fontweight="bold", parse_math=False)
    for row, clip in enumerate(clips):
        bottom = height - _TITLE_INCHES - (row + 1) * row_inches
        for column, (picture, text, color) in enumerate(clip.columns(len(clip.frames_THWC) // 2)):
            left, margin = column * _PANEL_INCHES, 0.04
            inches = (left + margin, bottom + margin, _PANEL_INCHES - 2 * margin, _PANEL_INCHES * aspect - 2 * margin)
            box = (inches[0] / width, inches[1] / height, inches[2] / width, inches[3] / height)
            axis = figure.add_axes(box)
            axis.imshow(picture, interpolation="bilinear", aspect="auto")
            axis.set_axis_off()
            axis.set_title(_shortened(text, 30), fontsize=9, color=color, pad=3, parse_math=False)
    with atomic_open(path) as file:
        figure.savefig(file, format="png")


def write_video(titles: Sequence[str], clips: Sequence[ClipPanels], path: Path) -> None:
    """Write an MP4 (H.264) of all clips one after the other, four frames a second, the columns of the sheet abreast.

    Raises:
        ValueError: the FFmpeg in PyAV has no libx264.
    """
    if "libx264" not in av.codecs_available:
        raise ValueError(
            f"expected an FFmpeg with the encoder libx264, found PyAV {av.__version__} without it; install PyAV from a "
            "wheel."
        )
    pictures = (_video_frame(titles, clip, number) for clip in clips for number in range(len(clip.frames_THWC)))
    with atomic_open(path) as file, av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=_FRAMES_PER_SECOND, options={"crf": "20", "threads": "1"})
        assert isinstance(stream, av.VideoStream)
        stream.pix_fmt = "yuv420p"
        for number, picture in enumerate(pictures):
            if number == 0:
                stream.height, stream.width = picture.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def _video_frame(titles: Sequence[str], clip: ClipPanels, number: int) -> np.ndarray:
    """uint8 RGB of even height and width, as H.264 needs: titles, pictures, answers."""
    from PIL import Image, ImageDraw, ImageFont

    height = _PANEL_HEIGHT
    width = round(height * clip.frames_THWC.shape[2] / clip.frames_THWC.shape[1] / 2) * 2
    canvas = Image.new("RGB", (width * len(titles), height + 2 * _BAR_PIXELS), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(_FONT_PIXELS)
    for column, (title, (picture, text, color)) in enumerate(zip(titles, clip.columns(number), strict=True)):
        left, middle = column * width, (column + 0.5) * width
        enlarged = Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR)
        canvas.paste(enlarged, (left, _BAR_PIXELS))
        for words, y, ink in ((title, _BAR_PIXELS / 2, _PLAIN), (text, height + _BAR_PIXELS * 1.5, color)):
            draw.text((middle, y), _fitting(words, font, width - 8), fill=ink, font=font, anchor="mm")
    return np.asarray(canvas)


def _fitting(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """The longest start of a text that fits."""
    for length in range(len(text), 0, -1):
        shown = _shortened(text, length)
        if font.getlength(shown) <= width:
            return shown
    return ""


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: max(most - 3, 0)]}..."
