"""Video info: plain values that the scan writes and loader workers read.

Note [One table of video info]
``VideoInfo`` is the only list of a video's properties. The columns of the scan's CSV (scan/store.py) are derived from
the order and types of its fields, those of a manifest's rows (manifest/rows.py) from the ``Column`` of each field.

The names of columns are part of both file formats: if you rename a field, keep the old name in its ``Column``. Add a
new field at the end and, if it is in rows, increase SCHEMA_VERSION in manifest.py by one. Videos are then scanned
again, as the header of older CSV files differs; so they are if you increase _VERSION in scan/store.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_type_hints

# The codec of a folder of JPEG files; FFmpeg calls a file or a stream of JPEG "mjpeg".
JPEG_FILES = "jpeg files"
NO_INDEX = "no packet index was made"
UNTAGGED = "untagged"  # the file does not state its color matrix or range


class Column(NamedTuple):
    """How a field of VideoInfo is stored in files.

    Args:
        dtype: NumPy's code of the dtype in a manifest's row.
        name: name of the column, in CSV and rows.
        row_name: name in rows, if different.
        to_row, from_row: convert the field's value to the row's, and back; None if they are equal.
    """

    dtype: str
    name: str
    row_name: str = ""
    to_row: Callable[[Any], Any] | None = None
    from_row: Callable[[Any], Any] | None = None


def _text(num_bytes: int, name: str) -> Column:
    return Column(f"S{num_bytes}", name, from_row=bytes.decode)


# Rows omit the reasons.
_HEALTH = Column("?", "health", "cut", lambda health: health != "ok", lambda is_cut: "cut" if is_cut else "ok")
_SOURCE = Column(
    "?", "num_frames_source", "decoded", lambda source: source == "decode", lambda by: "decode" if by else "demux"
)


class Stamp(NamedTuple):
    """Size in bytes, and a number that changes with the contents: a time in ns, or a hash of a server's answer."""

    size: int
    changed: int


class PacketLocation(NamedTuple):
    """Location of a packet index: the index file ``part`` and byte offsets in it."""

    part: Annotated[Path, Column("<i2", "part")]  # in rows: its index in Manifest.parts; -1: none
    packets_at: Annotated[int, Column("<i8", "packets_at")]
    codec_header_at: Annotated[int, Column("<i8", "stub_at")]
    codec_header_size: Annotated[int, Column("<i4", "stub_size")]


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """One video: a file, a member of a shard, or a folder of JPEG files. See Note [One table of video info].

    Args:
        num_frames: number of frames that decoding from the start outputs, up to the end or the first damage.
        num_packets: number of non-empty packets of the video stream.
        width, height: size of the stored picture in pixels, before rotation.
        rotation: 0, 90, 180 or 270 degrees counter-clockwise from the stored picture to the upright one; see mirrored.
        codec, pix_fmt: FFmpeg's names; codec is ``JPEG_FILES`` for a folder of frames.
        matrix: "bt601", "bt709", ... or "untagged".
        color_range: "limited", "full" or "untagged".
        file_size: bytes of the video; for a folder of frames, of all frames together.
        mtime_ns: time of the last change of the file, folder or shard; for a shard at a URL, a hash of its ETag.
        health: "ok"; "cut: <reason>" (good up to num_frames); "bad: <reason>" (no frame).
        num_frames_source: "decode", or "demux" if packets were counted and only the first frame was decoded.
        variable_rate: whether frames are unevenly spaced in time.
        whole_file: why a clip needs the whole file decoded; empty if there is a packet index.
        packets: location of the packet index.
        start: byte offset in the shard, or number of the first JPEG file.
        mirrored: whether the picture, once rotated, is mirrored left-right to be upright.
        pixel_width, pixel_height: pixel aspect of the stored picture; 1 and 1 if the file states none.
        stream: number of the video stream in the file.
        num_video_streams: number of video streams in the file, covers included.
        notes: what is odd in the file but harmless, one sentence; empty if nothing is.
        content: hash of a few samples of the content, 1 to 2**63 - 1; 0 if unknown. See scan/content_hash.py.
        coded_width, coded_height: size before cropping, in whole blocks of the codec; 0 and 0 if unknown.
        interlaced: whether the settings of an H.264 stream allow pictures that are coded as two fields.
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
    mirrored: Annotated[bool, Column("?", "mirrored")] = False
    pixel_width: Annotated[int, Column("<i4", "pixel_width")] = 1
    pixel_height: Annotated[int, Column("<i4", "pixel_height")] = 1
    stream: Annotated[int, Column("<i2", "stream")] = 0
    num_video_streams: Annotated[int, Column("<i2", "num_video_streams")] = 1
    notes: Annotated[str, Column("", "notes")] = ""  # not in rows
    content: Annotated[int, Column("", "content")] = 0  # not in rows
    coded_width: Annotated[int, Column("<i4", "coded_width")] = 0
    coded_height: Annotated[int, Column("<i4", "coded_height")] = 0
    interlaced: Annotated[bool, Column("?", "interlaced")] = False

    @staticmethod
    def bad(reason: str, *, size: int = 0, mtime_ns: int = 0, start: int = 0) -> VideoInfo:
        """Video info of a video without a decodable frame."""
        health = f"bad: {reason}"
        unknown = (0, 0, 0, 0, 0, "", "", UNTAGGED, UNTAGGED)
        return VideoInfo(*unknown, size, mtime_ns, health, whole_file="it is bad", start=start)

    @property
    def usable(self) -> bool:
        return not self.health.startswith("bad")

    @property
    def pixel_aspect(self) -> float:
        """Width of a stored pixel over its height."""
        return self.pixel_width / self.pixel_height

    @property
    def pixel_shape(self) -> str:
        """For example 16:15."""
        return f"{self.pixel_width}:{self.pixel_height}"


def columns_of(video_info: type[VideoInfo | PacketLocation]) -> dict[str, Column]:
    """Columns by name of the field; ``packets`` has none."""
    hints = get_type_hints(video_info, include_extras=True)
    return {name: hint.__metadata__[0] for name, hint in hints.items() if name != "packets"}
