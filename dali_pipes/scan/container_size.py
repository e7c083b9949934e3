"""Read from a container's own sizes whether the file ends too early, without FFmpeg, which stops there without a word.

Sources: Microsoft AVI RIFF file reference, ISO/IEC 14496-12 4.2 (boxes), RFC 8794 (EBML) and RFC 9559 (Matroska), ITU-T
H.222.0 2.4.3.2 (transport packets).
"""

from __future__ import annotations

import struct
from typing import BinaryIO, NamedTuple

_BOXES = frozenset(b"ftyp styp moov moof mdat sidx emsg prft free skip wide uuid meta udta pdin mfra ssix".split())
_CLUSTER, _SEGMENT, _EBML = 0x1F43B675, 0x18538067, 0x1A45DFA3
_TS_PACKET, _TS_PACKETS_READ = 188, 4
# Level-1 elements of a segment: seek head, info, cluster, tracks, cues, attachments, chapters, tags, void, CRC-32.
_LEVEL_1 = frozenset(
    (0x114D9B74, 0x1549A966, _CLUSTER, 0x1654AE6B, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367, 0xEC, 0xBF)
)


class ContainerSize(NamedTuple):
    """What the container's sizes say.

    Args:
        num_missing: bytes of video that lie past the end of the file.
        num_packets: non-empty packets of the stream; None if the container does not tell, or its structure is broken.
        broken_at: byte where an element of a Matroska file is none; None if there is no such byte.
    """

    num_missing: int = 0
    num_packets: int | None = None
    broken_at: int | None = None


def read_container_size(
    file: BinaryIO, format_name: str, stream_index: int, *, counts_packets: bool = True
) -> ContainerSize:
    """Read the sizes of the file's parts.

    Args:
        format_name: FFmpeg's name of the container. Of others than AVI, mp4, Matroska and transport streams nothing is
            known.
        counts_packets: whether to count the packets of an AVI, which takes milliseconds.
    """
    size = file.seek(0, 2)
    if format_name == "avi":
        return _Avi(file, size, stream_index, counts_packets=counts_packets).read()
    if format_name.startswith("mov,"):
        return ContainerSize(_missing_of_boxes(file, size))
    if format_name == "mpegts":
        return ContainerSize(_missing_of_packet(file, size))
    return _size_of_segment(file, size) if format_name.startswith("matroska") else ContainerSize()


class _Avi:
    """Counts the chunks of one stream in all ``movi`` lists."""

    def __init__(self, file: BinaryIO, size: int, stream_index: int, *, counts_packets: bool) -> None:
        self._file, self._size = file, size
        self._counts_packets = counts_packets
        self._stream = b"%02d" % stream_index
        self._num_packets = 0
        self._num_missing = 0
        self._is_clean = True

    def read(self) -> ContainerSize:
        start = 0
        while start + 12 <= self._size:
            name, length, kind = self._head(start)
            if name != b"RIFF" or kind not in (b"AVI ", b"AVIX"):
                break  # what follows the last RIFF is no video
            self._read_lists(start + 12)
            start += 8 + length + length % 2
        known = self._counts_packets and self._is_clean and not self._num_missing
        return ContainerSize(self._num_missing, self._num_packets if known else None)

    def _head(self, start: int) -> tuple[bytes, int, bytes]:
        self._file.seek(start)
        return struct.unpack("<4sI4s", self._file.read(12).ljust(12, b"\0"))

    def _read_lists(self, start: int) -> None:
        """Find the ``movi`` list of a RIFF that begins before ``start``."""
        while start + 12 <= self._size:
            name, length, kind = self._head(start)
            if name == b"LIST" and kind == b"movi":
                # A recorder that was killed leaves the length 0: its chunks then end with the file.
                end = start + 8 + length if length > 4 else self._size
                self._num_missing += max(0, end - self._size)
                if self._counts_packets or length <= 4:
                    self._count(start + 12, min(end, self._size))
                return
            start += 8 + length + length % 2
        self._is_clean = False

    def _count(self, start: int, end: int) -> None:
        while start + 8 <= end:
            name, length, kind = self._head(start)
            if name == b"LIST" and kind == b"rec ":
                start += 12
                continue
            if name in (b"idx1", b"RIFF") or not name.isalnum():
                self._is_clean = name == b"idx1"
                return
            if name[:2] == self._stream and name[2:] != b"pc":  # a change of the palette
                self._num_packets += length > 0
            start += 8 + length + length % 2
            self._num_missing += max(0, start - length % 2 - self._size) if not self._num_missing else 0


def _missing_of_packet(file: BinaryIO, size: int) -> int:
    """Missing bytes of the last packet of a transport stream: packets of 188 bytes, from the first byte to the last."""
    whole, rest = divmod(size, _TS_PACKET)
    if not rest or whole < _TS_PACKETS_READ:
        return 0
    file.seek((whole - _TS_PACKETS_READ) * _TS_PACKET)
    marks = file.read()[::_TS_PACKET]
    return _TS_PACKET - rest if not marks.strip(b"\x47") else 0


def _missing_of_boxes(file: BinaryIO, size: int) -> int:
    start = 0
    while start + 8 <= size:
        file.seek(start)
        length, name = struct.unpack(">I4s", file.read(8))
        if name not in _BOXES or length == 0:  # bytes after the last box; or a box that ends with the file
            return 0
        if length == 1:
            (length,) = struct.unpack(">Q", file.read(8).ljust(8, b"\0"))
        if length < 8:
            return 0
        start += length
    return max(0, start - size)


def _size_of_segment(file: BinaryIO, size: int) -> ContainerSize:
    """Missing bytes of a segment whose last whole or partial element is a cluster; cues and tags hold no video."""
    start, end, name = 0, size, 0
    is_known = False
    while start < min(size, end):
        file.seek(start)
        name, length, num_read = _element(file.read(12))
        if name == _SEGMENT:
            if length is None:
                return ContainerSize()
            start += num_read
            end, is_known = start + length, True
            continue
        if name == _EBML and start == 0:
            start += num_read + (length or 0)
            continue
        if name not in _LEVEL_1:
            return ContainerSize(broken_at=start if is_known else None)
        if length is None:
            return ContainerSize()
        start += num_read + length
        if start > size:
            return ContainerSize(start - size if name == _CLUSTER else 0)
    return ContainerSize(max(0, end - size) if name == _CLUSTER else 0)


def _element(head: bytes) -> tuple[int, int | None, int]:
    """Name, length (None: unknown) and number of bytes of an element's head; name 0 if it is none."""
    if len(head) < 2 or not head[0] >> 4:
        return 0, None, 0
    name_size = 9 - head[0].bit_length()
    name = int.from_bytes(head[:name_size], "big")
    if len(head) <= name_size or not head[name_size]:
        return 0, None, 0
    length_size = 9 - head[name_size].bit_length()
    coded = int.from_bytes(head[name_size : name_size + length_size], "big")
    length = coded & ((1 << 7 * length_size) - 1)
    unknown = length == (1 << 7 * length_size) - 1
    return name, None if unknown else length, name_size + length_size
