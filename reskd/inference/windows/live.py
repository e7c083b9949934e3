"""Answers a camera or stream: a line for each window as soon as it is over."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timezone

from dali_pipes.single_pass.live_windows import LiveWindows, without_password
from reskd.inference.student import TrainedStudent
from reskd.inference.windows.long_videos import answer_windows, window_rule
from reskd.inference.windows.outputs import as_json

log = logging.getLogger(__name__)


def answer_stream(
    student: TrainedStudent,
    source: str,
    seconds: tuple[float, float | None],
    *,
    top: int,
    timeout_s: float,
    retries: int,
    write: Callable[[str], None],
) -> None:
    """Write a line of JSON for each window until the stream stops or Ctrl-C.

    Args:
        seconds: length and stride of the windows, as of ``window_rule``.
        top: classes of each window.

    A pipe that its writer closes has ended, and this returns.

    Raises:
        ValueError: the stream stopped; says after how many windows, and why. Or as ``window_rule``, ``LiveWindows``.
    """
    name = without_password(source)
    rule = window_rule(student, *seconds)
    num_windows = 0
    with LiveWindows(source, rule, timeout_s=timeout_s, retries=retries) as stream:
        counts = stream.counts

        def described() -> str:
            frames = f"{counts.num_frames} frames, {counts.num_dropped} of them dropped"
            return f"{num_windows} windows ({frames}, {counts.num_connections} connections)"

        try:
            while (window := stream.take()) is not None:
                moment = datetime.fromtimestamp(window.time, timezone.utc).isoformat(timespec="milliseconds")
                more = {"time": moment, "connection": window.connection, "dropped_frames": counts.num_dropped}
                for found in answer_windows(student, name, [window.clip]):
                    write(as_json(student, found, top, **more))
                    num_windows += 1
        except KeyboardInterrupt:
            log.info("%s: ended by Ctrl-C after %s", name, described())
            return
        if num_windows and stream.has_ended:
            log.info("%s: ended after %s", name, described())
            return
        raise ValueError(
            f"{name}: expected a stream that goes on, found its end after {described()}: {stream.reason}; start the "
            "camera or server again, and then this command."
        )
