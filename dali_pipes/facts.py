"""What is known about a video file. Plain values: read by loader workers, written by the scan."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


class PacketPlace(NamedTuple):
    """Where a packet index lies: in the file ``part``, so many bytes from its start."""

    part: Path
    packets_at: int
    stub_at: int
    stub_size: int


@dataclass(frozen=True, slots=True)
class FileFacts:
    """One video file.

    Args:
        num_frames: frames that a decode from the start puts out, up to the end or the first damage.
        num_packets: packets of the video stream with something in them.
        width, height: of the stored picture in pixels, before rotation.
        rotation: 0, 90, 180 or 270 degrees counter-clockwise from the stored picture to the upright one.
        codec, pix_fmt: FFmpeg's names.
        matrix: "bt601", "bt709", ... or "untagged".
        colour_range: "limited", "full" or "untagged".
        file_size: bytes.
        mtime_ns: time of the last change.
        health: "ok"; "cut: <reason>" (good up to num_frames); "bad: <reason>" (not one frame).
        num_frames_source: "decode", or "demux" where packets were counted and nothing was decoded but the first frame.
        variable_rate: frames are not equally far apart in time.
        whole_file: why the whole file has to be decoded for a clip; empty where there is a packet index.
        packets: the packet index.
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

    @property
    def usable(self) -> bool:
        return not self.health.startswith("bad")
