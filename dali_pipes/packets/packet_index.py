"""Select the packets of a video that a clip needs.

Note [Sparse decode]
A decoder that gets the whole file decodes all frames up to the last wanted one: 30 per frame used, for 8 of 250 frames.
The index stores each packet's byte range, its frame, and whether other frames refer to it. For each wanted frame, a
clip needs the packets from the last one where decoding can start, without those that no other frame refers to. Only
these packets are read, and decoded by PyAV or remuxed in memory for DALI.

    coded    I0 P3 b1 b2 | I6 P9 b7 b8        wanted: 9        kept: I6 P9
    frame     0  3  1  2    6  9  7  8        wanted: 2, 7     kept: I0 P3 b2, I6 P9 b7

A file is indexed only if this is exact (``dali_pipes.packets.index_builder``). Frames are identified by their number,
which is the packet's timestamp, so other frames from the decoder are detected. Each packet has a checksum.

Shape letters: P packets of a file, K packets that are kept, T frames of a clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple
from zlib import crc32

import numpy as np

from dali_pipes.packets.picture_types import DISPOSABLE, LEADING, OPEN_START, START

# 13 bytes per packet, in the order of the file's packets (decoding order).
PACKET = np.dtype(
    [
        ("gap", "<i4"),  # bytes from the end of the previous packet (or the start of the file) to this one
        ("size", "<u4"),  # bytes
        ("shift", "<i2"),  # index in presentation order minus index in decoding order
        ("flags", "u1"),  # of dali_pipes.packets.picture_types, and HIDDEN
        ("checksum", "<u2"),
    ]
)
CODEC_TAG = "CODEC_TAG"  # metadata of a codec header's stream: four bytes in hexadecimal digits
HIDDEN = 16  # decoded but not output: before the start of an edit list
# Byte ranges at most this far apart are read as one: a read costs more than this many bytes from the page cache, and a
# request more than this many bytes from a network (assumed: 20 ms, 50 MB/s).
READ_TOGETHER, REQUEST_TOGETHER = 16_384, 1 << 20


class ChangedFileError(ValueError):
    """The bytes of a file differ from those that were indexed."""


@dataclass(frozen=True)
class PacketIndex:
    """One video's packets.

    Args:
        packets_P: array of type ``PACKET``.
        codec_header: a Matroska file without pictures: codec, settings, size, color. Decoders are opened with it.
    """

    packets_P: np.ndarray
    codec_header: bytes


class Selection(NamedTuple):
    """Packets for a clip, in decoding order.

    Args:
        position_K, size_K: int64, byte ranges in the file.
        number_K: int64, the packet's index in presentation order, which identifies its frame.
        flush_K: bool, whether the decoder must be flushed before this packet.
        checksum_K: uint16.
        wanted_T: int64, the ``number_K`` of the wanted frames, in the requested order.
    """

    position_K: np.ndarray
    size_K: np.ndarray
    number_K: np.ndarray
    flush_K: np.ndarray
    checksum_K: np.ndarray
    wanted_T: np.ndarray

    @property
    def rank_T(self) -> np.ndarray:
        """int32: index of each wanted frame among the frames of the kept packets."""
        return np.searchsorted(np.sort(self.number_K), self.wanted_T).astype(np.int32)


def checksum(data: bytes) -> int:
    """The lower 16 bits of the CRC-32; they suffice to detect a changed file, as a clip has dozens of packets."""
    return crc32(data) & 0xFFFF


def select(packets_P: np.ndarray, frame_index_T: np.ndarray, *, may_flush: bool) -> Selection:
    """Select the packets that the wanted frames need.

    Args:
        frame_index_T: indices of the wanted frames in output order; any order, repeats allowed.
        may_flush: whether the decoder can be flushed between packets, so that decoding may also start at OPEN_START.

    Raises:
        IndexError: the file does not have such a frame.
    """
    number_P = np.arange(len(packets_P)) + packets_P["shift"]
    coded_of_number = np.argsort(number_P)
    flags_P = packets_P["flags"]
    visible = np.flatnonzero(flags_P[coded_of_number] & HIDDEN == 0)
    if np.min(frame_index_T) < 0:
        raise IndexError(f"expected frame numbers from 0 on, found {np.min(frame_index_T)}.")
    wanted_T = visible[np.asarray(frame_index_T, np.int64)]
    starts = np.flatnonzero(flags_P & (START | OPEN_START if may_flush else START))
    if not len(starts) or starts[0]:
        starts = np.concatenate(([0], starts))
    keep_P = np.zeros(len(packets_P), bool)
    decoded_through = []  # starts whose leading pictures are wanted, so that the packets before are decoded too
    for coded in np.unique(coded_of_number[wanted_T]).tolist():
        group = int(np.searchsorted(starts, coded, side="right")) - 1
        first = int(starts[group])
        skipped = DISPOSABLE | LEADING if may_flush else DISPOSABLE
        if may_flush and flags_P[coded] & LEADING and group:
            before = slice(int(starts[group - 1]), first)
            keep_P[before] |= flags_P[before] & skipped == 0
            decoded_through.append(first)
            skipped = DISPOSABLE
        keep_P[first:coded] |= flags_P[first:coded] & skipped == 0
        keep_P[coded] = True
    kept = np.flatnonzero(keep_P)
    size_P = packets_P["size"].astype(np.int64)
    position_P = np.cumsum(packets_P["gap"] + size_P) - size_P
    flush_P = (flags_P & OPEN_START != 0) & may_flush
    flush_P[[kept[0], *decoded_through]] = False
    return Selection(
        position_P[kept], size_P[kept], number_P[kept], flush_P[kept], packets_P["checksum"][kept], wanted_T
    )


def read_packets(file: BinaryIO, selection: Selection, *, together: int = READ_TOGETHER) -> list[bytes]:
    """Read the kept packets; neighbors are read together.

    Args:
        file: the video, readable and seekable.
        together: byte ranges at most this many bytes apart are read as one.

    Raises:
        ChangedFileError: the file is truncated, or a checksum differs.
    """
    begin_K, end_K = selection.position_K, selection.position_K + selection.size_K
    payloads: list[bytes] = []
    for run in np.split(np.arange(len(begin_K)), np.flatnonzero(_apart(begin_K, end_K, together)) + 1):
        start = int(begin_K[run[0]])
        file.seek(start)
        block = _read_up_to(file, int(end_K[run[-1]]) - start)
        payloads += [block[a - start : b - start] for a, b in zip(begin_K[run], end_K[run], strict=True)]
    for number, (data, size, expected) in enumerate(
        zip(payloads, selection.size_K.tolist(), selection.checksum_K.tolist(), strict=True)
    ):
        if len(data) != size or checksum(data) != expected:
            raise ChangedFileError(f"packet {number} of {len(payloads)} is not the one that was scanned; scan again.")
    return payloads


def _read_up_to(file: BinaryIO, size: int) -> bytes:
    """Read ``size`` bytes, or all that are left; a raw read of a network disk may return fewer than there are."""
    parts = [file.read(size)]
    while parts[-1] and sum(map(len, parts)) < size:
        parts.append(file.read(size - sum(map(len, parts))))
    return b"".join(parts) if len(parts) > 1 else parts[0]


def _apart(begin_K: np.ndarray, end_K: np.ndarray, together: int) -> np.ndarray:
    """bool (K-1,): True where a packet is not read together with the previous one."""
    gap = begin_K[1:] - end_K[:-1]
    return (gap < 0) | (gap > together)


def start_distances(packets_P: np.ndarray) -> Sequence[int]:
    """Number of packets from each one where decoding can start to the next such one, or to the end."""
    starts = np.flatnonzero(packets_P["flags"] & (START | OPEN_START))
    return np.diff(np.append(starts, len(packets_P))).tolist()
