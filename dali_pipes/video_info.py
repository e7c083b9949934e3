"""What is known about a video. Plain values: read by loader workers, written by the scan."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

# The codec of a folder of JPEG files; FFmpeg calls a file or a stream of JPEG "mjpeg".
JPEG_FILES = "jpeg files"
UNTAGGED = "untagged"  # a file that does not say its colour matrix or range


class Stamp(NamedTuple):
    """Size in bytes, and a number that changes with the contents: a time in ns, or a hash of a server's answer."""

    size: int
    changed: int


class PacketPlace(NamedTuple):
    """Where a packet index lies: in the file ``part``, so many bytes from its start."""

    part: Path
    packets_at: int
    stub_at: int
    stub_size: int


@dataclass(frozen=True, slots=True)
class FileFacts:
    """One video: a file, a member of a shard, or a folder of JPEG files.

    Args:
        num_frames: frames that a decode from the start puts out, up to the end or the first damage.
        num_packets: packets of the video stream with something in them.
        width, height: of the stored picture in pixels, before rotation.
        rotation: 0, 90, 180 or 270 degrees counter-clockwise from the stored picture to the upright one.
        codec, pix_fmt: FFmpeg's names; codec is ``JPEG_FILES`` for a folder of frames.
        matrix: "bt601", "bt709", ... or "untagged".
        colour_range: "limited", "full" or "untagged".
        file_size: bytes of the video; of all its frames together.
        mtime_ns: time of the last change of the file, folder or shard; of a shard at a URL, a hash of its ETag.
        health: "ok"; "cut: <reason>" (good up to num_frames); "bad: <reason>" (not one frame).
        num_frames_source: "decode", or "demux" where packets were counted and nothing was decoded but the first frame.
        variable_rate: frames are not equally far apart in time.
        whole_file: why the whole file has to be decoded for a clip; empty where there is a packet index.
        packets: the packet index.
        start: where the video begins: its byte in the shard, or the number of the first JPEG file.
    """

    num_frames: int
    num_packets: int
    width: int
    height: int
    rotation: int
    codec: str
    pix_fmt: str
    matrix: str
    colour_range: str
    file_size: int
    mtime_ns: int
    health: str
    num_frames_source: str = "decode"
    variable_rate: bool = False
    whole_file: str = "no packet index was made"
    packets: PacketPlace | None = None
    start: int = 0

    @staticmethod
    def bad(reason: str, *, size: int = 0, mtime_ns: int = 0, start: int = 0) -> FileFacts:
        """Facts of a video that gives not one frame."""
        health = f"bad: {reason}"
        unknown = (0, 0, 0, 0, 0, "", "", UNTAGGED, UNTAGGED)
        return FileFacts(*unknown, size, mtime_ns, health, whole_file="it is bad", start=start)

    @property
    def usable(self) -> bool:
        return not self.health.startswith("bad")
