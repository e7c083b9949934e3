"""Decode a file or stream from start to end, each frame with its time; damage is passed over and named.

Note [Time of a frame]
Seconds count from the first frame, by the frames' own timestamps, so a variable rate is respected. A frame without one
follows the frame before by the last step; where a format has no presentation timestamps (AVI), this is the stream's
mean rate, as in whole_video.py. Some files have timestamps in decoding order: a few step back and the next ones catch
up. Such a frame follows the one before at once, so time never runs ahead of the timestamps. Where they step back by
more than a second or for more frames than a decoder reorders (joined recordings, a clock that wraps), or forward by
more than an hour, time goes on by one step, so that it always increases.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import av
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from dali_pipes.decode.demux import packets_of
from dali_pipes.scan.probe import one_line

_LONGEST_GAP_S = 3600.0
_USUAL_STEP_S = 1 / 25
_REORDERED_S, _REORDERED_FRAMES = 1.0, 16  # 16: the most that H.264 and HEVC hold back
_AT_ONCE_S = 1e-4


class TimedFrame(NamedTuple):
    """A decoded frame.

    Args:
        begin_s: seconds from the first frame.
        is_damaged: whether the decoder concealed an error in it, or packets before it did not decode.
    """

    frame: VideoFrame
    begin_s: float
    is_damaged: bool


class Timeline:
    """Gives frames, in output order, their times. See Note [Time of a frame]."""

    def __init__(self, stream: VideoStream) -> None:
        rate = stream.average_rate or stream.guessed_rate
        self._step_s = float(1 / rate) if rate else _USUAL_STEP_S
        self._offset_s: float | None = None
        self._last_s: float | None = None
        self._num_behind = 0  # frames in a row whose timestamps step back
        self.has_timestamps = True  # False: those of frames are not presentation timestamps
        self.num_jumps = 0

    @property
    def end_s(self) -> float:
        """Where the last frame ends, if it lasts as long as the one before."""
        return 0.0 if self._last_s is None else self._last_s + self._step_s

    def begin(self, frame: VideoFrame) -> float:
        """Seconds from the first frame to this one; more than for the frame before."""
        stamp_s = None
        if self.has_timestamps and frame.pts is not None and frame.time_base is not None:
            stamp_s = float(frame.pts * frame.time_base)
        if self._last_s is None:
            self._offset_s, self._last_s = stamp_s, 0.0
            return 0.0
        next_s = self._last_s + self._step_s
        if stamp_s is None:
            self._last_s = next_s
            return next_s
        if self._offset_s is None:
            self._offset_s = stamp_s - next_s
        begin_s = stamp_s - self._offset_s
        is_behind = -_REORDERED_S < begin_s - self._last_s <= 0
        self._num_behind = self._num_behind + 1 if is_behind else 0
        if is_behind and self._num_behind < _REORDERED_FRAMES:
            self._last_s += _AT_ONCE_S
            return self._last_s
        if not 0 < begin_s - self._last_s <= _LONGEST_GAP_S:
            self._offset_s, begin_s = stamp_s - next_s, next_s
            self.num_jumps += 1
        else:
            self._step_s = begin_s - self._last_s
        self._last_s = begin_s
        return begin_s


def timed_frames(
    container: av.container.InputContainer,
    stream: VideoStream,
    timeline: Timeline,
    on_damage: Callable[[str], None] = lambda message: None,
) -> Iterator[TimedFrame]:
    """Decode all frames in output order. Packets that do not decode are passed over.

    Packets before the first frame count as damage only if no frame follows: a recording may start between keyframes.

    Args:
        on_damage: called with a sentence where damage begins, and where the file cannot be read on.
    """
    # FFmpeg makes some up for AVI, in decoding order.
    timeline.has_timestamps = timeline.has_timestamps and container.format.name != "avi"
    was_damaged = False
    num_frames = 0
    for packet in _packets(container, stream, timeline, on_damage):
        try:
            frames = packet.decode()
        except av.error.FFmpegError as error:
            if num_frames and not was_damaged:
                on_damage(f"damaged from {timeline.end_s:.2f} s on: {one_line(error)}")
            was_damaged = num_frames > 0
            continue
        for frame in frames:
            num_frames += 1
            begin_s = timeline.begin(frame)
            is_damaged = frame.is_corrupt or was_damaged
            if frame.is_corrupt and not was_damaged:
                on_damage(f"damaged at {begin_s:.2f} s: the decoder concealed an error")
            was_damaged = False
            yield TimedFrame(frame, begin_s, is_damaged)


def _packets(
    container: av.container.InputContainer, stream: VideoStream, timeline: Timeline, on_damage: Callable[[str], None]
) -> Iterator[av.Packet]:
    """All packets that can be read, and the empty one that has the decoder give out its last frames."""
    packets = packets_of(container, stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.error.FFmpegError as error:
            on_damage(f"cannot be read beyond {timeline.end_s:.2f} s: {one_line(error)}")
            end = av.Packet(0)
            end.stream = stream
            yield end
            return
        yield packet
