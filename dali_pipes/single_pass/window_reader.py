"""Read the windows of a file in one decode, and its upright pictures for an annotated copy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from dali_pipes.decode.picture_shape import container_aspect, orientation_of, pixel_shape_of
from dali_pipes.decode.pyav import Window, open_video, open_video_stream
from dali_pipes.scan.probe import complaints_of, one_line
from dali_pipes.single_pass.timed_frames import TimedFrame, Timeline, timed_frames
from dali_pipes.single_pass.windows import WindowClip, WindowCutter, WindowRule


class UnreadableVideoError(ValueError):
    """A file that gives no frame; ``str()`` is the reason."""


@dataclass
class ReadingNotes:
    """What was found while reading a video.

    Args:
        damage: a sentence for each damaged part.
        num_frames: decoded frames.
        end_s: length of the video.
    """

    damage: list[str] = field(default_factory=list)
    num_frames: int = 0
    end_s: float = 0.0


def read_windows(path: str | Path, rule: WindowRule, notes: ReadingNotes) -> Iterator[WindowClip]:
    """Decode a file once and yield its windows in order; a video shorter than a window has one.

    Args:
        notes: filled while reading.

    Raises:
        UnreadableVideoError: there is no frame.
        ValueError: the frames of a window take too much memory.
    """
    cutter = WindowCutter(rule)
    try:
        # FFmpeg's complaints are not printed: what they mean for the frames is in ``notes``.
        with complaints_of(), open_video(path) as container:
            stream = open_video_stream(container)
            of_container, timeline, pixels = container_aspect(stream), Timeline(stream), None
            for timed in timed_frames(container, stream, timeline, notes.damage.append):
                pixels = pixels or pixel_shape_of(stream, of_container)
                notes.num_frames += 1
                yield from cutter.add(timed, pixels)
            notes.end_s = timeline.end_s
            yield from cutter.finish(timeline.end_s)
    except (av.error.FFmpegError, OSError) as error:
        reason = one_line(error) if isinstance(error, av.error.FFmpegError) else error.strerror
        raise UnreadableVideoError(f"does not open: {reason}") from error
    except ValueError as error:
        if notes.num_frames:
            raise
        raise UnreadableVideoError(f"does not open: {one_line(error)}") from error
    if not notes.num_frames:
        raise UnreadableVideoError("; ".join(notes.damage) or "no frame decodes")


class ShownPicture(NamedTuple):
    """An upright picture: uint8 RGB (height, width, 3), and when it begins."""

    picture_HWC: np.ndarray
    begin_s: float


def read_pictures(path: str | Path) -> Iterator[ShownPicture]:
    """Decode a file once more, for its upright pictures with their times.

    Raises:
        av.error.FFmpegError, OSError, ValueError: the file does not open.
    """
    with complaints_of(), open_video(path) as container:
        stream = open_video_stream(container)
        window: Window | None = None
        for timed in timed_frames(container, stream, Timeline(stream)):
            window = window or _whole(timed)
            yield ShownPicture(window.cut(timed.frame), timed.begin_s)


def _whole(timed: TimedFrame) -> Window:
    frame, orientation = timed.frame, orientation_of(timed.frame)
    size = (frame.height, frame.width) if orientation.rotation % 180 == 0 else (frame.width, frame.height)
    return Window((0, 0, *size), orientation.rotation, frame.width, frame.height, mirrored=orientation.mirrored)
