"""Facts of a video that there is not."""

from __future__ import annotations

from typing import Any

from dali_pipes.video_info import VideoInfo


def make_video_info(**changes: Any) -> VideoInfo:
    """A sound video of 24 frames without a packet index, but for ``changes``."""
    sound: dict[str, Any] = {
        "num_frames": 24,
        "num_packets": 24,
        "width": 128,
        "height": 96,
        "rotation": 0,
        "codec": "h264",
        "pix_fmt": "yuv420p",
        "matrix": "untagged",
        "color_range": "limited",
        "file_size": 3754,
        "mtime_ns": 1_795_819_857_326_082_400,
        "health": "ok",
    }
    return VideoInfo(**(sound | changes))
