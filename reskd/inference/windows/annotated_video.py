"""Writes a copy of a video with the student's answers in its pictures: an MP4 without sound.

The answer at a time is known only when its window has ended, so the copy is made by a second decode. A picture shows
the window whose middle is nearest to it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from dali_pipes.atomic_files import atomic_open
from dali_pipes.single_pass.window_reader import read_pictures

if TYPE_CHECKING:
    from reskd.inference.windows.long_videos import WindowAnswer

_TICK = Fraction(1, 90000)  # as MPEG's clock: fine enough for any rate
_BT709 = 1


@dataclass
class Captions:
    """The text of each window, in order."""

    middles_s: list[float] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def add(self, found: WindowAnswer, best: Sequence[tuple[str, float]]) -> None:
        name, score = best[0]
        self.middles_s.append((found.start_s + found.end_s) / 2)
        self.texts.append(f"{name} {score:.0%}")

    def at(self, time_s: float) -> str:
        """The text of the window whose middle is nearest; of two, the earlier."""
        after = bisect_left(self.middles_s, time_s)
        around = [index for index in (after - 1, after) if 0 <= index < len(self.middles_s)]
        return self.texts[min(around, key=lambda index: abs(self.middles_s[index] - time_s))]


def write_annotated_video(source: str | Path, captions: Captions, target: Path) -> int:
    """Write the copy, whole or not at all, and return its number of pictures. Times are the source's.

    Raises:
        ValueError: the FFmpeg in PyAV has no libx264.
        OSError: ``target`` cannot be written.
    """
    if "libx264" not in av.codecs_available:
        raise ValueError(
            f"--annotated: expected an FFmpeg with the encoder libx264, found PyAV {av.__version__} without it; "
            "install PyAV from a wheel."
        )
    count, last_tick = 0, -1
    with atomic_open(target) as file, av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "20", "preset": "veryfast"})
        assert isinstance(stream, av.VideoStream)
        for shown in read_pictures(source):
            picture = _even(shown.picture_HWC)
            if count == 0:
                stream.height, stream.width = picture.shape[:2]
                stream.pix_fmt = "yuv420p"
                stream.codec_context.time_base = _TICK
                stream.codec_context.colorspace, stream.codec_context.color_range = _BT709, 1
            frame = _encoded_frame(_with_caption(picture, captions.at(shown.begin_s)))
            last_tick = max(last_tick + 1, round(shown.begin_s / _TICK))
            frame.pts, frame.time_base = last_tick, _TICK
            container.mux(stream.encode(frame))
            count += 1
        container.mux(stream.encode(None))
    return count


def _even(picture_HWC: np.ndarray) -> np.ndarray:
    """With even sides, as H.264 needs: the last row or column is repeated."""
    odd = [(0, side % 2) for side in picture_HWC.shape[:2]]
    return np.pad(picture_HWC, [*odd, (0, 0)], mode="edge")


def _with_caption(picture_HWC: np.ndarray, text: str) -> np.ndarray:
    """A dark bar at the lower edge, with the text in OpenCV's font, which has ASCII alone."""
    import cv2

    drawn = np.ascontiguousarray(picture_HWC)
    height, width = drawn.shape[:2]
    shown = text.encode("ascii", "replace").decode()
    bar = max(10, round(height * 0.09))
    scale = bar * 0.6 / cv2.getTextSize(shown, cv2.FONT_HERSHEY_SIMPLEX, 1.0, 1)[0][1]
    scale *= min(1.0, width * 0.96 / max(1, cv2.getTextSize(shown, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)[0][0]))
    drawn[height - bar :] = drawn[height - bar :] // 4
    place = (max(2, round(width * 0.02)), height - round(bar * 0.22))
    thickness = max(1, round(scale * 1.6))
    cv2.putText(drawn, shown, place, cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), thickness, cv2.LINE_AA)
    return drawn


def _encoded_frame(picture_HWC: np.ndarray) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(picture_HWC, format="rgb24").reformat(
        format="yuv420p",
        src_colorspace=Colorspace.ITU709,
        dst_colorspace=Colorspace.ITU709,
        src_color_range=ColorRange.JPEG,
        dst_color_range=ColorRange.MPEG,
    )
