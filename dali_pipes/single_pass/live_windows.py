"""Read a camera or stream in a thread, and hand out its newest window: one that nobody takes in time is dropped.

Note [A slow student]
The thread decodes at the pace of the stream and keeps at most one finished window. If the student is still busy when
the next one is finished, the older is dropped and its frames are counted. So answers stay current and memory bounded.

Note [A stream that stops]
A network stream or camera that ends, fails or gives no data for ``timeout_s`` is opened again, after 1, 2, 4, ... s, at
most ``retries`` times in a row. A pipe that ends has ended. Time starts anew with each connection.
"""

from __future__ import annotations

import stat
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import av

from dali_pipes.decode.live import OPENING_S, open_live
from dali_pipes.decode.picture_shape import container_aspect, pixel_shape_of
from dali_pipes.decode.pyav import open_video_stream
from dali_pipes.scan.probe import one_line
from dali_pipes.single_pass.timed_frames import Timeline, timed_frames
from dali_pipes.single_pass.windows import WindowClip, WindowCutter, WindowRule

_LONGEST_WAIT_S = 30.0
_GRACE_S = 2.0  # beyond the time-out, for reads that FFmpeg cannot interrupt


class LiveWindow(NamedTuple):
    """A window of a stream; ``time`` is the system's when its last frame was decoded, ``connection`` counts from 1."""

    clip: WindowClip
    time: float
    connection: int


class _PassedOver(NamedTuple):
    """A window that nobody took, without its pixels."""

    connection: int
    start_s: float
    end_s: float
    num_frames: int


@dataclass
class LiveCounts:
    """What was read so far.

    Args:
        num_frames: decoded frames.
        num_dropped: frames of windows that nobody took in time and that are in no window which was taken; where windows
            overlap, of each one's share of time.
        num_damaged: packets and frames that the decoder found damaged.
        num_connections: how often the stream gave a frame after opening.
    """

    num_frames: int = 0
    num_dropped: int = 0
    num_damaged: int = 0
    num_connections: int = 0


class LiveWindows:
    """Starts to read at once; ``take`` gives windows. Use it in a ``with`` block.

    Args:
        source: as of ``open_live``.
        retries: how often in a row to open it again.

    Raises:
        ValueError: the source is a plain file, or is not there.
    """

    def __init__(self, source: str, rule: WindowRule, *, timeout_s: float, retries: int) -> None:
        self._source, self._rule = source, rule
        self._is_pipe = not _can_reopen(source)
        self._timeout_s, self._retries = timeout_s, 0 if self._is_pipe else retries
        self.has_ended = False  # whether it is a pipe whose writer closed it
        self.counts = LiveCounts()
        self.reason = ""  # why it ended
        self._changed = threading.Condition()
        self._newest: LiveWindow | None = None
        self._passed_over: list[_PassedOver] = []  # since the last one that was taken
        self._covered: tuple[int, float] = (0, 0.0)  # connection, and until when its frames are in windows taken
        self._active_s = time.monotonic()
        self._is_over = self._is_asked_to_end = False
        self._thread = threading.Thread(target=self._read, name="stream", daemon=True)

    def __enter__(self) -> LiveWindows:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._is_asked_to_end = True
            self._changed.notify_all()
        self._thread.join(timeout=1.0)  # one that waits in a read ends with the process

    def take(self) -> LiveWindow | None:
        """The newest window, as soon as there is one; None after the end, whose ``reason`` is set then."""
        with self._changed:
            while self._newest is None and not self._is_over:
                self._changed.wait(timeout=0.2)
                silent_s = time.monotonic() - self._active_s
                if silent_s > max(self._timeout_s, OPENING_S) + _GRACE_S:
                    self._is_over, self.reason = True, f"no frame for {silent_s:.0f} s"
            taken, self._newest = self._newest, None
            self._count_dropped(taken)
            return taken

    def _count_dropped(self, taken: LiveWindow | None) -> None:
        """Count what lies between the window that was taken before and ``taken``, or the end."""
        for connection, start_s, end_s, num_frames in self._passed_over:
            covered_s = self._covered[1] if self._covered[0] == connection else 0.0
            first_s, last_s = max(start_s, covered_s), end_s
            if taken is not None and taken.connection == connection:
                last_s = min(end_s, taken.clip.start_s)
            share = max(0.0, last_s - first_s) / (end_s - start_s) if end_s > start_s else 1.0
            self.counts.num_dropped += round(share * num_frames)
            self._covered = connection, max(covered_s, last_s)
        self._passed_over.clear()
        if taken is not None:
            self._covered = taken.connection, taken.clip.end_s

    def _read(self) -> None:
        failures, is_unforeseen = 0, False
        while True:
            before = self.counts.num_frames
            try:
                self._read_once()
                reason, self.has_ended = "the stream ended", self._is_pipe
            except (av.error.ExitError, TimeoutError):
                reason = f"no data for {self._timeout_s:g} s"
            except av.error.FFmpegError as error:
                reason = one_line(error)
            except Exception as error:  # an unforeseen one ends the stream with its words, not the thread alone
                reason, is_unforeseen = one_line(error), True
            failures = 1 if self.counts.num_frames > before else failures + 1
            if is_unforeseen or failures > self._retries or not self._wait(min(2.0 ** (failures - 1), _LONGEST_WAIT_S)):
                break
        with self._changed:
            self._is_over, self.reason = True, self.reason or reason
            self._changed.notify_all()

    def _read_once(self) -> None:
        with open_live(self._source, timeout_s=self._timeout_s) as container:
            stream = open_video_stream(container)
            cutter, timeline, pixels = WindowCutter(self._rule), Timeline(stream), None
            of_container = container_aspect(stream)
            for timed in timed_frames(container, stream, timeline, self._count_damage):
                if pixels is None:
                    pixels = pixel_shape_of(stream, of_container)
                    self.counts.num_connections += 1
                self.counts.num_frames += 1
                self._active_s = time.monotonic()
                for clip in cutter.add(timed, pixels):
                    self._offer(LiveWindow(clip, time.time(), self.counts.num_connections))
                if self._is_asked_to_end:
                    return
            for clip in cutter.finish(timeline.end_s):
                self._offer(LiveWindow(clip, time.time(), self.counts.num_connections))

    def _count_damage(self, _: str) -> None:
        self.counts.num_damaged += 1

    def _offer(self, window: LiveWindow) -> None:
        with self._changed:
            if self._newest is not None:
                clip = self._newest.clip
                passed = _PassedOver(self._newest.connection, clip.start_s, clip.end_s, clip.num_frames)
                self._passed_over.append(passed)
            self._newest = window
            self._changed.notify_all()

    def _wait(self, seconds: float) -> bool:
        """Wait before opening again; False if asked to end."""
        until_s = time.monotonic() + seconds
        with self._changed:
            while not self._is_asked_to_end and (left_s := until_s - time.monotonic()) > 0:
                self._active_s = time.monotonic()
                self._changed.wait(timeout=min(left_s, 0.2))
        self._active_s = time.monotonic()
        return not self._is_asked_to_end


def _can_reopen(source: str) -> bool:
    """Whether the source is a URL or a camera, and not a pipe."""
    if source == "-":
        return False
    if "://" in source:
        scheme = urlsplit(source).scheme
        if scheme in ("file", "pipe", "concat", "subfile", "data"):
            raise ValueError(f"--stream: expected a stream of the network, found {scheme}://; give a file as VIDEO.")
        return True
    try:
        mode = Path(source).stat().st_mode
    except OSError as error:
        raise ValueError(f"--stream: expected a URL, a camera or a pipe, found {source}: {error.strerror}.") from None
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        raise ValueError(f"--stream: expected a URL, a camera or a pipe, found the file {source}; give it as VIDEO.")
    return stat.S_ISCHR(mode)


def without_password(source: str) -> str:
    """The source for people and logs: a URL's user and password become ``***``."""
    before, separator, rest = source.partition("://")
    host, slash, path = rest.partition("/")
    return f"{before}{separator}***@{host.rpartition('@')[2]}{slash}{path}" if separator and "@" in host else source
