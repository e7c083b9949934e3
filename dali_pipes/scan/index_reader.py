"""Read packet indexes from beside the scan's tables."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from dali_pipes.packets.packet_index import PACKET, PacketIndex
from dali_pipes.scan.store import CHECKSUMS, checksum_of_index, checksums_in
from dali_pipes.video_info import PacketLocation


class IndexReader:
    """Reads indexes by location. Keeps files open and the codec headers, of which there are few, in memory."""

    def __init__(self) -> None:
        self._files: dict[Path, int] = {}
        self._codec_headers: dict[tuple[Path, int], bytes] = {}
        self._checksums: dict[Path, np.ndarray | None] = {}

    def __reduce__(self) -> tuple[type[IndexReader], tuple[()]]:
        """In another process, file descriptors refer to other files."""
        return IndexReader, ()

    def read(self, location: PacketLocation, num_packets: int) -> PacketIndex:
        """Read the index of a video.

        Raises:
            OSError: the index file is gone.
            ValueError: the index file is truncated or damaged.
        """
        packets = self._pread(location.part, num_packets * PACKET.itemsize, location.packets_at)
        key = (location.part, location.codec_header_at)
        if key not in self._codec_headers:
            self._codec_headers[key] = self._pread(location.part, location.codec_header_size, location.codec_header_at)
        if not self._is_as_written(location.part, checksum_of_index(packets, self._codec_headers[key])):
            del self._codec_headers[key]  # it may be this that is damaged
            raise ValueError(f"{location.part}: expected the index at {location.packets_at} as written; scan again.")
        return PacketIndex(np.frombuffer(packets, PACKET), self._codec_headers[key])

    def _is_as_written(self, part: Path, checksum: int) -> bool:
        if part not in self._checksums:
            path = part.with_suffix(CHECKSUMS)
            self._checksums[part] = np.sort(checksums_in(path)) if path.is_file() else None
        known = self._checksums[part]
        if known is None:
            return True
        at = int(np.searchsorted(known, checksum))
        return at < len(known) and int(known[at]) == checksum

    def _pread(self, part: Path, size: int, offset: int) -> bytes:
        if part not in self._files:
            self._files[part] = os.open(part, os.O_RDONLY)
        data = os.pread(self._files[part], size, offset)
        if len(data) != size:
            raise ValueError(f"{part}: expected {size} bytes at {offset}, found {len(data)}; scan again.")
        return data

    def __del__(self) -> None:
        for descriptor in self._files.values():
            os.close(descriptor)
