"""Cut a decode into sliding windows of time: each is a clip for the student, as if it were a video of its own.

Note [A window is a video]
The student's frames of a window are those of a video that consists of the frames that begin in it, with one test view
in the center. So a window over a whole video gives the clip of evaluation, to the bit. If no frame begins in a window
(a still slide), it holds the frame on the screen.

Note [What is held]
Which frames a window takes depends on how many begin in it, so all of them wait until it ends. They wait as decoded,
and only the chosen ones are cropped and resized; above ``_RAW_BYTES`` the oldest are resized while they wait. Windows
that overlap share the waiting frames.

Shape letters: T frames, H height, W width, C = 3 color channels.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from av.video.frame import VideoFrame

from dali_pipes.decode.picture_shape import PixelShape, orientation_of
from dali_pipes.decode.pyav import Window
from dali_pipes.loader.cpu_render import RenderPlan
from dali_pipes.sampling.clip_plan import VideoShape, plan_clip
from dali_pipes.sampling.spec import SamplingRules
from dali_pipes.single_pass.timed_frames import TimedFrame

_RAW_BYTES = 256 << 20
_MOST_BYTES = 1 << 30
_ROUNDING_S = 1e-6


@dataclass(frozen=True)
class WindowRule:
    """How a video becomes clips.

    Args:
        length_s, stride_s: length of a window, and from the start of one to the next.
        rules: of evaluation, for the student's view alone, one test view.
        render: the student's view alone.
    """

    length_s: float
    stride_s: float
    rules: SamplingRules
    render: RenderPlan


class WindowClip(NamedTuple):
    """The student's input of one window.

    Args:
        start_s, end_s: from the first frame of the video; the last window ends with the video.
        frames_THWC: uint8 RGB.
        valid_T: bool, False for a frame that repeats the one before.
        num_frames: frames that begin in the window.
        num_damaged: how many of them the decoder found damaged.
    """

    start_s: float
    end_s: float
    frames_THWC: np.ndarray
    valid_T: np.ndarray
    num_frames: int
    num_damaged: int


@dataclass
class _Waiting:
    """A frame that waits: as decoded, or rendered."""

    begin_s: float
    is_damaged: bool
    num_bytes: int
    raw: VideoFrame | None
    view_HWC: np.ndarray | None = None


class WindowCutter:
    """Takes frames in order and gives each window as soon as a frame beyond it is there.

    Args:
        pixels: shape of the stored pixels, of the first frame.

    Raises:
        ValueError: (of ``add``) the frames of a window take too much memory, or cannot be converted.
    """

    def __init__(self, rule: WindowRule) -> None:
        self._rule = rule
        self._waiting: deque[_Waiting] = deque()
        self._number = 0  # of the next window
        self._window: Window | None = None
        self._shape = VideoShape(0, 0, 0)
        self._num_rendered = 0  # waiting frames from the oldest on
        self._raw_bytes = self._view_bytes = 0

    def add(self, timed: TimedFrame, pixels: PixelShape) -> Iterator[WindowClip]:
        """Take the next frame; yields the windows that end before it."""
        if self._window is None:
            self._start(timed.frame, pixels)
        while timed.begin_s >= self._end_s - _ROUNDING_S:
            yield self._cut(self._end_s)
            self._next()
        frame = timed.frame
        num_bytes = frame.width * frame.height * 3 // 2
        self._waiting.append(_Waiting(timed.begin_s, timed.is_damaged, num_bytes, frame))
        self._raw_bytes += num_bytes
        self._drop_old()
        self._limit_memory()

    def finish(self, end_s: float) -> Iterator[WindowClip]:
        """The windows that are open at the end of the video, up to the first that reaches it; each holds a frame."""
        while self._waiting and self._start_s <= self._waiting[-1].begin_s + _ROUNDING_S:
            yield self._cut(min(self._end_s, end_s))
            if self._end_s >= end_s - _ROUNDING_S:
                return
            self._next()

    @property
    def _start_s(self) -> float:
        return self._number * self._rule.stride_s

    @property
    def _end_s(self) -> float:
        return self._start_s + self._rule.length_s

    def _start(self, frame: VideoFrame, pixels: PixelShape) -> None:
        orientation = orientation_of(frame)
        height, width, aspect = frame.height, frame.width, pixels.width / pixels.height
        if orientation.rotation % 180:
            height, width, aspect = width, height, 1 / aspect
        self._shape = VideoShape(1, height, width, aspect)
        crop = plan_clip(self._rule.rules, self._shape, seed=0, position=0, attempt=0, row=0).crop
        self._window = Window(crop, orientation.rotation, frame.width, frame.height, mirrored=orientation.mirrored)

    def _next(self) -> None:
        self._number += 1
        self._drop_old()

    def _drop_old(self) -> None:
        """Drop frames before the next window, except the last of them: it may still be on the screen."""
        while len(self._waiting) > 1 and self._waiting[1].begin_s <= self._start_s + _ROUNDING_S:
            old = self._waiting.popleft()
            self._num_rendered = max(0, self._num_rendered - 1)
            if old.raw is not None:
                self._raw_bytes -= old.num_bytes
            if old.view_HWC is not None:
                self._view_bytes -= old.view_HWC.nbytes

    def _limit_memory(self) -> None:
        while self._raw_bytes > _RAW_BYTES and self._num_rendered < len(self._waiting):
            self._view(self._waiting[self._num_rendered])
            self._num_rendered += 1
        if self._view_bytes > _MOST_BYTES:
            raise ValueError(
                f"expected the frames of a window to fit into {_MOST_BYTES >> 30} GiB, found {len(self._waiting)} in "
                f"{self._rule.length_s:g} s; choose shorter windows (--windows)."
            )

    def _view(self, waiting: _Waiting) -> np.ndarray:
        if waiting.view_HWC is None:
            assert waiting.raw is not None and self._window is not None
            picture = self._window.cut(waiting.raw)
            rendered = self._rule.render.render([picture], student_frames=[0], flip=False)["student"]
            waiting.view_HWC = rendered[0]
            waiting.raw = None
            self._raw_bytes -= waiting.num_bytes
            self._view_bytes += waiting.view_HWC.nbytes
        return waiting.view_HWC

    def _cut(self, end_s: float) -> WindowClip:
        inside = [one for one in self._waiting if self._is_inside(one.begin_s)]
        shown = inside or [one for one in self._waiting if one.begin_s < end_s][-1:] or [self._waiting[0]]
        shape = self._shape._replace(num_frames=len(shown))
        plan = plan_clip(self._rule.rules, shape, seed=0, position=0, attempt=0, row=0)
        frames_THWC = np.stack([self._view(shown[number]) for number in plan.frame_index_T.tolist()])
        num_damaged = sum(one.is_damaged for one in inside)
        return WindowClip(self._start_s, end_s, frames_THWC, plan.student_valid_k, len(inside), num_damaged)

    def _is_inside(self, begin_s: float) -> bool:
        return self._start_s - _ROUNDING_S <= begin_s < self._end_s - _ROUNDING_S
