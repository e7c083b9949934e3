"""A bounded part of the attack; the full size is ``python -m tests.attacks.videos --count 500``."""

from __future__ import annotations

from tests.attacks.videos import attack

NAMES = [
    "h264 mp4 b",
    "h264 mkv",
    "h264 flv",
    "h264 ts",
    "hevc mp4 open gop",
    "vp9 webm good",
    "mpeg4 avi b",
    "mjpeg avi",
]


def test_damaged_videos_are_refused_with_a_reason_or_give_ffmpegs_frames() -> None:
    totals, failures = attack(60, 20261128, NAMES)
    assert failures == []
    assert totals["tried"] == 60
    assert min(totals[name] for name in ("refused in a sentence", "cut with a reason", "worked")) > 5
