"""What is known about a video. Plain values: read by loader workers, written by the scan.

Note [One table of facts]
``FileFacts`` is the only list of what is known about a video. The cells of the scan's CSV (scan/store.py) follow from
the order and the types of its fields; the columns of a manifest's rows (manifest/rows.py) follow from their ``Column``.
Both file formats keep the order of the fields, so a new field goes to the end. It makes old scans be scanned again (the
head of their CSV is another one); raise manifest.SCHEMA_VERSION with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_type_hints

# The codec of a folder of JPEG files; FFmpeg calls a file or a stream of JPEG "mjpeg".
JPEG_FILES = "jpeg files"
NO_INDEX = "no packet index was made"
UNTAGGED = "untagged"  # a file that does not say its colour matrix or range


class Column(NamedTuple):
    """The column of a manifest's row that holds a fact.

    Args:
        dtype: NumPy's code for it.
        name: where it is not the fact's own.
        to_row, from_row: from the fact to what the row holds, and back.
    """

    dtype: str
    name: str = ""
    to_row: Callable[[Any], Any] = lambda value: value
    from_row: Callable[[Any], Any] = lambda value: value


_INT16, _INT32, _INT64, _FLAG = Column("<i2"), Column("<i4"), Column("<i8"), Column("?")


def _text(num_bytes: int) -> Column:
    return Column(f"S{num_bytes}", from_row=bytes.decode)


# Rows leave the reasons out.
_IS_CUT = Column("?", "cut", lambda health: health != "ok", lambda is_cut: "cut" if is_cut else "ok")
_IS_DECODED = Column("?", "decoded", lambda source: source == "decode", lambda by: "decode" if by else "demux")


class Stamp(NamedTuple):
    """Size in bytes, and a number that changes with the contents: a time in ns, or a hash of a server's answer."""

    size: int
    changed: int


class PacketPlace(NamedTuple):
    """Where a packet index lies: in the file ``part``, so many bytes from its start."""

    part: Annotated[Path, _INT16]  # its number among a manifest's; -1: none
    packets_at: Annotated[int, _INT64]
    stub_at: Annotated[int, _INT64]
    stub_size: Annotated[int, _INT32]


@dataclass(frozen=True, slots=True)
class FileFacts:
    """One video: a file, a member of a shard, or a folder of JPEG files. See Note [One table of facts].

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

    num_frames: Annotated[int, _INT32]
    num_packets: Annotated[int, _INT32]
    width: Annotated[int, _INT32]
    height: Annotated[int, _INT32]
    rotation: Annotated[int, _INT16]
    codec: Annotated[str, _text(16)]
    pix_fmt: Annotated[str, _text(16)]
    matrix: Annotated[str, _text(12)]
    colour_range: Annotated[str, _text(8)]
    file_size: Annotated[int, _INT64]
    mtime_ns: Annotated[int, _INT64]
    health: Annotated[str, _IS_CUT]
    num_frames_source: Annotated[str, _IS_DECODED] = "decode"
    variable_rate: Annotated[bool, _FLAG] = False
    whole_file: str = NO_INDEX  # a row does not hold it
    packets: PacketPlace | None = None
    start: Annotated[int, _INT64] = 0

    @staticmethod
    def bad(reason: str, *, size: int = 0, mtime_ns: int = 0, start: int = 0) -> FileFacts:
        """Facts of a video that gives not one frame."""
        health = f"bad: {reason}"
        unknown = (0, 0, 0, 0, 0, "", "", UNTAGGED, UNTAGGED)
        return FileFacts(*unknown, size, mtime_ns, health, whole_file="it is bad", start=start)

    @property
    def usable(self) -> bool:
        return not self.health.startswith("bad")


def columns_of(facts: Any) -> dict[str, Column]:
    """The columns of the fields that a row holds, of ``FileFacts`` or of ``PacketPlace``, with their names."""
    hints = get_type_hints(facts, include_extras=True)
    found = {name: column for name, hint in hints.items() for column in getattr(hint, "__metadata__", ())}
    return {name: column._replace(name=column.name or name) for name, column in found.items()}
