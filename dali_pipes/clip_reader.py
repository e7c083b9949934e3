"""From a plan and a manifest row to encoded bytes or decoded frames: few packets where there is an index."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO, Literal, NamedTuple

import numpy as np

from dali_pipes.host_decode import InexactError, Window, decode_frames, decode_packets
from dali_pipes.manifest import ManifestRow
from dali_pipes.packets import PacketIndex, read_packets, select
from dali_pipes.remux import remux
from dali_pipes.sampling import ClipPlan
from dali_pipes.scan_store import IndexReader
from dali_pipes.way_in import DeviceKind, way_in

# How a clip was read; a column of ``Sample.about``. FELL_BACK: the packets were not enough, the whole file was decoded.
WHOLE, SPARSE, FELL_BACK, WHOLE_BY_DALI, SPARSE_BY_DALI = range(5)
BY_DALI = (WHOLE_BY_DALI, SPARSE_BY_DALI)


class Clip(NamedTuple):
    """What a clip's file gave.

    Args:
        encoded: uint8 (bytes,), a video; one zero byte where the host decoded.
        raw_THWC: uint8 RGB, upright and cropped; (1, 1, 1, 3) where DALI is to decode.
        is_encoded: which of the two holds the clip.
        decode_index_T: int32, numbers of the wanted frames in ``encoded``.
        how: WHOLE, SPARSE, FELL_BACK, WHOLE_BY_DALI or SPARSE_BY_DALI.
    """

    encoded: np.ndarray
    raw_THWC: np.ndarray
    is_encoded: bool
    decode_index_T: np.ndarray
    how: int


@dataclass
class ClipReader:
    """Reads clips of local files.

    Args:
        device: where DALI would decode.
        forced: the way in of all clips, or "auto".
        sparse: use packet indexes.
    """

    device: DeviceKind
    forced: Literal["auto", "dali", "host"]
    sparse: bool = True

    def __post_init__(self) -> None:
        self._indexes = IndexReader()

    def read(self, plan: ClipPlan, row: ManifestRow, *, by_host: bool = False) -> Clip:
        """The clip; ``by_host`` has PyAV decode it whatever the way in is.

        Raises:
            ValueError: the file is not the one that was scanned, or has no such frames.
            OSError: it cannot be read.
        """
        to_dali = not by_host and way_in(row.facts, self.device, self.forced) == "dali"
        index = self._index(row)
        with row.path.open("rb", buffering=0) as file:
            size = file.seek(0, 2)
            if size != row.facts.file_size:
                raise ValueError(f"expected {row.facts.file_size} bytes as scanned, found {size}; scan again.")
            if to_dali:
                return _for_dali(file, plan, index)
            return _by_host(file, plan, row, index)

    def _index(self, row: ManifestRow) -> PacketIndex | None:
        place = row.facts.packets
        return self._indexes.read(place, row.facts.num_packets) if self.sparse and place else None


def _for_dali(file: BinaryIO, plan: ClipPlan, index: PacketIndex | None) -> Clip:
    nothing = np.zeros((1, 1, 1, 3), np.uint8)
    if index is None:
        file.seek(0)
        encoded = np.frombuffer(file.read(), np.uint8)
        return Clip(encoded, nothing, True, plan.frame_index_T, WHOLE_BY_DALI)
    selection = select(index.packets_P, plan.frame_index_T, may_flush=False)
    encoded = remux(index.stub, read_packets(file, selection), selection)
    return Clip(encoded, nothing, True, selection.rank_T, SPARSE_BY_DALI)


def _by_host(file: BinaryIO, plan: ClipPlan, row: ManifestRow, index: PacketIndex | None) -> Clip:
    facts = row.facts
    window = Window(plan.crop, facts.rotation, facts.width, facts.height)
    how = WHOLE
    if index is not None:
        selection = select(index.packets_P, plan.frame_index_T, may_flush=True)
        try:
            frames = decode_packets(index.stub, read_packets(file, selection), selection, window)
            return Clip(np.zeros(1, np.uint8), frames, False, plan.frame_index_T, SPARSE)
        except InexactError:
            how = FELL_BACK
    frames = decode_frames(row.path, plan.frame_index_T, window)
    return Clip(np.zeros(1, np.uint8), frames, False, plan.frame_index_T, how)
