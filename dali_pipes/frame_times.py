"""When each frame of a video is on the screen, and which frames a rate of so many a second takes.

Note [Which frame shows at a time]
A rate r asks for the times 0, 1/r, 2/r, ... before the video's end, counted from its first frame. At each of them the
frame on the screen is taken: the last that began at or before it. Where the rate is above the video's own, every frame
is taken once. The times are those of the packets, as the container tells them, so a variable rate is kept:

    begins at   0.0  0.4  0.5  2.6      one a second: times 0, 1, 2, and 3 if the last is shown till then
    frame         0    1    2    3      frames 0, 2, 2, 3 -> 0, 2, 3

Where packets have no times (AVI) or there are fewer of them than frames, frame i begins at i / the stream's mean rate.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, NamedTuple

import av
import numpy as np

from dali_pipes.host_decode import open_video_stream

# Containers round to ticks: a frame that begins so little after a wanted time is the one meant. The smaller counts.
_ROUNDING_STEPS, _ROUNDING_S = 1e-3, 1e-3


class FrameTimes(NamedTuple):
    """Seconds from the first frame of a video.

    Args:
        begin_M: float64, when each of the M frames appears, rising.
        end: when the last one goes.
    """

    begin_M: np.ndarray
    end: float


def even_times(num_frames: int, rate: float) -> FrameTimes:
    """Frames equally far apart, ``rate`` of them a second."""
    return FrameTimes(np.arange(num_frames) / rate, num_frames / rate)


def read_frame_times(video: Path | BinaryIO, num_frames: int) -> FrameTimes:
    """The times of a video's frames from its packets; nothing is decoded. See Note [Which frame shows at a time].

    Args:
        num_frames: as the scan found; packets beyond are left out.

    Raises:
        ValueError: neither the packets nor the stream have a time.
        av.error.FFmpegError: the file does not open.
    """
    with av.open(str(video) if isinstance(video, Path) else video, "r") as container:
        stream = open_video_stream(container)
        rate = stream.average_rate or stream.guessed_rate
        tick = stream.time_base
        stamps: list[int] = []
        try:
            for packet in container.demux(stream):
                if packet.size and packet.pts is not None and not packet.is_discard:
                    stamps.append(packet.pts)
        except av.error.FFmpegError:
            pass  # of a file that is cut; what came before is as good as the frames that the scan counted
    known = np.unique(np.array(stamps, np.int64))[:num_frames]
    if tick and len(known) == num_frames:
        begin_M = (known - known[0]) * float(tick)
        # The last frame is shown as long as most are.
        last_s = float(np.median(np.diff(begin_M))) if num_frames > 1 else (float(1 / rate) if rate else 1.0)
        return FrameTimes(begin_M, float(begin_M[-1]) + last_s)
    if not rate:
        raise ValueError("neither its packets nor its stream have a time; expected a video with a frame rate.")
    return even_times(num_frames, float(rate))


def frames_at_rate(times: FrameTimes, rate: float, *, most: int) -> np.ndarray:
    """int32 frame numbers, rising, each once, at most ``most``: those on the screen ``rate`` times a second.

    Frame 0 always is one of them. See Note [Which frame shows at a time].
    """
    edges = np.ceil(np.append(times.begin_M, times.end) * rate - min(_ROUNDING_STEPS, _ROUNDING_S * rate))
    edges[0], edges[1:] = 0, np.maximum(edges[1:], 1)  # a second frame that begins within the rounding is not the first
    # Frame i shows at the times number edges[i] to edges[i + 1] - 1.
    return np.flatnonzero(np.diff(edges) > 0)[:most].astype(np.int32)
