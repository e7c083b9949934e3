"""What is known about a video. Plain values: read by loader workers, written by the scan.

Note [One table of facts]
``VideoInfo`` is the only list of what is known about a video. The columns of the scan's CSV (scan/store.py) follow from
the order and the types of its fields, those of a manifest's rows (manifest/rows.py) from the ``Column`` of each field.

The names of columns are part of both file formats: whoever renames a field gives its ``Column`` the old name. A new
field goes to the end, and SCHEMA_VERSION in manifest.py up by one. Videos are then scanned again, as the head of older
CSV files differs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_type_hints

# The codec of a folder of JPEG files; FFmpeg calls a file or a stream of JPEG "mjpeg".
JPEG_FILES = "jpeg files"
NO_INDEX = "no packet index was made"
UNTAGGED = "untagged"  # a file that does not say its color matrix or range


class Column(NamedTuple):
    """How a fact is kept in files.

    Args:
        dtype: NumPy's code for what a manifest's row holds.
        name: of the column, in CSV and in rows.
        row_name: in rows, where they name it otherwise.
        to_row, from_row: from the fact to what the row holds, and back.
    """

    dtype: str
    name: str
    row_name: str = ""
    to_row: Callable[[Any], Any] = lambda value: value
    from_row: Callable[[Any], Any] = lambda value: value


def _text(num_bytes: int, name: str) -> Column:
    return Column(f"S{num_bytes}", name, from_row=bytes.decode)


# Rows leave the reasons out.
_HEALTH = Column("?", "health", "cut", lambda health: health != "ok", lambda is_cut: "cut" if is_cut else "ok")
_SOURCE = Column(
    "?", "num_frames_source", "decoded", lambda source: source == "decode", lambda by: "decode" if by else "demux"
)


class Stamp(NamedTuple):
    """Size in bytes, and a number that changes with the contents: a time in ns, or a hash of a server's answer."""

    size: int
    changed: int


class PacketLocation(NamedTuple):
    """Where a packet index lies: in the file ``part``, so many bytes from its start."""

    part: Annotated[Path, Column("<i2", "part")]  # in rows its number among the manifest's; -1: none
    packets_at: Annotated[int, Column("<i8", "packets_at")]
    codec_header_at: Annotated[int, Column("<i8", "stub_at")]
    codec_header_size: Annotated[int, Column("<i4", "stub_size")]


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """One video: a file, a member of a shard, or a folder of JPEG files. See Note [One table of facts].

    Args:
        num_frames: frames that a decode from the start puts out, up to the end or the first damage.
        num_packets: packets of the video stream with something in them.
        width, height: of the stored picture in pixels, before rotation.
        rotation: 0, 90, 180 or 270 degrees counter-clockwise from the stored picture to the upright one.
        codec, pix_fmt: FFmpeg's names; codec is ``JPEG_FILES`` for a folder of frames.
        matrix: "bt601", "bt709", ... or "untagged".
        color_range: "limited", "full" or "untagged".
        file_size: bytes of the video; of all its frames together.
        mtime_ns: time of the last change of the file, folder or shard; of a shard at a URL, a hash of its ETag.
        health: "ok"; "cut: <reason>" (good up to num_frames); "bad: <reason>" (not one frame).
        num_frames_source: "decode", or "demux" where packets were counted and nothing was decoded but the first frame.
        variable_rate: frames are not equally far apart in time.
        whole_file: why the whole file has to be decoded for a clip; empty where there is a packet index.
        packets: the packet index.
        start: where the video begins: its byte in the shard, or the number of the first JPEG file.
    """

    num_frames: Annotated[int, Column("<i4", "num_frames")]
    num_packets: Annotated[int, Column("<i4", "num_packets")]
    width: Annotated[int, Column("<i4", "width")]
    height: Annotated[int, Column("<i4", "height")]
    rotation: Annotated[int, Column("<i2", "rotation")]
    codec: Annotated[str, _text(16, "codec")]
    pix_fmt: Annotated[str, _text(16, "pix_fmt")]
    matrix: Annotated[str, _text(12, "matrix")]
    color_range: Annotated[str, _text(8, "colour_range")]
    file_size: Annotated[int, Column("<i8", "file_size")]
    mtime_ns: Annotated[int, Column("<i8", "mtime_ns")]
    health: Annotated[str, _HEALTH]
    num_frames_source: Annotated[str, _SOURCE] = "decode"
    variable_rate: Annotated[bool, Column("?", "variable_rate")] = False
    whole_file: Annotated[str, Column("", "whole_file")] = NO_INDEX  # not in rows
    packets: PacketLocation | None = None
    start: Annotated[int, Column("<i8", "start")] = 0

    @staticmethod
    def bad(reason: str, *, size: int = 0, mtime_ns: int = 0, start: int = 0) -> VideoInfo:
        """Facts of a video that gives not one frame."""
        health = f"bad: {reason}"
        unknown = (0, 0, 0, 0, 0, "", "", UNTAGGED, UNTAGGED)
        return VideoInfo(*unknown, size, mtime_ns, health, whole_file="it is bad", start=start)

    @property
    def usable(self) -> bool:
        return not self.health.startswith("bad")


def columns_of(video_info: type[VideoInfo | PacketLocation]) -> dict[str, Column]:
    """The columns by the names of the fields; ``packets`` has none of its own."""
    hints = get_type_hints(video_info, include_extras=True)
    return {name: hint.__metadata__[0] for name, hint in hints.items() if name != "packets"}
