"""Read a planned clip as encoded bytes or decoded frames; with a packet index, only the needed packets; with a cache
of decoded frames, those.

The manifest row tells how its video is stored: in a file, in a shard, or as a folder of JPEG files.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from av.video.frame import VideoFrame

from dali_pipes.decode.jpeg import JpegDecoder, decode_jpegs
from dali_pipes.decode.pyav import InexactError, Window, decode_frames, decode_packets, first_frames
from dali_pipes.decode.remux import remux
from dali_pipes.loader.cpu_render import RenderPlan
from dali_pipes.loader.decoder_choice import DecoderRule
from dali_pipes.loader.frame_cache import FrameCache
from dali_pipes.manifest.manifest import ManifestRow
from dali_pipes.packets.packet_index import (
    READ_TOGETHER,
    REQUEST_TOGETHER,
    PacketIndex,
    Selection,
    read_packets,
    select,
)
from dali_pipes.sampling.clip_plan import ClipPlan
from dali_pipes.scan.index_reader import IndexReader
from dali_pipes.storage.byte_range import ByteRange, is_url
from dali_pipes.storage.frame_files import read_frame_files
from dali_pipes.storage.tar_index import read_member

# How a clip was read; ``About.how`` of a sample. FELL_BACK: the whole file was decoded, as the packets did not suffice.
WHOLE, SPARSE, FELL_BACK, WHOLE_BY_DALI, SPARSE_BY_DALI, FRAMES, FRAMES_BY_DALI, CACHED = range(8)
# Here DALI returns black frames past the end of a video.
BY_DALI = (WHOLE_BY_DALI, SPARSE_BY_DALI)

_CHANGED = "it was changed after the scan; scan again."
_NOT_ENCODED = np.zeros(1, np.uint8)
_NO_FRAMES = np.zeros((1, 1, 1, 3), np.uint8)


class Clip(NamedTuple):
    """A clip as read from its file.

    Args:
        encoded: uint8 (bytes,), a video or T concatenated JPEG files; one zero byte if PyAV decoded.
        raw_THWC: uint8 RGB, upright and cropped; (1, 1, 1, 3) if DALI is to decode, or the worker has rendered.
        teacher_THWC, student_THWC: uint8 RGB, the views if the worker has rendered them, else (1, 1, 1, 3).
        is_encoded: whether ``encoded`` holds the clip.
        decode_index_T: int32, indices of the wanted frames in ``encoded``, or the byte offset where each JPEG ends.
        how: WHOLE, SPARSE, ...
    """

    how: int
    is_encoded: bool
    decode_index_T: np.ndarray
    encoded: np.ndarray = _NOT_ENCODED
    raw_THWC: np.ndarray = _NO_FRAMES
    teacher_THWC: np.ndarray = _NO_FRAMES
    student_THWC: np.ndarray = _NO_FRAMES


@dataclass
class ClipReader:
    """Reads clips from files, shards or folders of frames.

    Args:
        rule: chooses the decoder.
        sparse: whether to use packet indexes.
        render: views to render from frames that PyAV decodes; None: DALI renders them.
        cache: keeps decoded frames; None: every clip is decoded.
    """

    rule: DecoderRule
    sparse: bool = True
    render: RenderPlan | None = None
    cache: FrameCache | None = None

    def __post_init__(self) -> None:
        self._indexes = IndexReader()

    def read(self, plan: ClipPlan, row: ManifestRow, *, by_pyav: bool = False) -> Clip:
        """Read the clip; ``by_pyav`` forces PyAV, whatever the choice is.

        Raises:
            ValueError: the file differs from the scanned one, or lacks these frames.
            OSError: it cannot be read.
        """
        if self.cache is not None and (kept := self._cached(plan, row)) is not None:
            return self._from_pyav(plan, CACHED, kept)
        to_dali = not by_pyav and self.rule.choose(row.video_info) == "dali"
        if row.template:
            files = _read_frame_files(plan, row)
            if to_dali:
                ends_T = np.cumsum([len(file) for file in files]).astype(np.int32)
                return Clip(FRAMES_BY_DALI, True, ends_T, np.frombuffer(b"".join(files), np.uint8))
            return self._from_pyav(plan, FRAMES, decode_jpegs(files, _window(plan, row)))
        index = self._index(row)
        with _open(row, index) as file:
            size = file.seek(0, 2)
            if size != row.video_info.file_size:
                raise ValueError(f"expected {row.video_info.file_size} bytes as scanned, found {size}; scan again.")
            if index is None and not row.shard and row.path.stat().st_mtime_ns != row.video_info.mtime_ns:
                raise ValueError(_CHANGED)  # an index has checksums
            if to_dali:
                return _for_dali(file, plan, row, index)
            return self._from_pyav(plan, *_with_pyav(file, plan, row, index))

    def _cached(self, plan: ClipPlan, row: ManifestRow) -> list[np.ndarray] | None:
        """The pictures, from the cache, which first decodes a new video; None if it has no room for one."""
        assert self.cache is not None
        if not (row.shard or row.template):
            found = row.path.stat()
            if (found.st_size, found.st_mtime_ns) != (row.video_info.file_size, row.video_info.mtime_ns):
                raise ValueError(_CHANGED)
        return self.cache.read(row, plan.frame_index_T, _window(plan, row), lambda: _all_frames(row))

    def _from_pyav(self, plan: ClipPlan, how: int, frames: list[np.ndarray]) -> Clip:
        if self.render is None:
            return Clip(how, False, plan.frame_index_T, raw_THWC=np.stack(frames))
        rendered = self.render.render(frames, student_frames=plan.student_k.tolist(), flip=plan.flip)
        views = {f"{name}_THWC": view for name, view in rendered.items()}
        return Clip(how, False, plan.frame_index_T, **views)

    def _index(self, row: ManifestRow) -> PacketIndex | None:
        """The packet index; None if there is none or it is damaged: the whole file gives the same frames."""
        location = row.video_info.packets
        try:
            return self._indexes.read(location, row.video_info.num_packets) if self.sparse and location else None
        except (OSError, ValueError):
            return None


def _open(row: ManifestRow, index: PacketIndex | None) -> BinaryIO:
    """The video's bytes; from a shard without an index, they are read into memory."""
    video_info = row.video_info
    if not row.shard:
        return row.path.open("rb", buffering=0)
    if index is None:
        return io.BytesIO(read_member(row.shard, video_info.start, video_info.file_size))
    return ByteRange(row.shard, video_info.start, video_info.file_size)  # type: ignore[return-value]  # a RawIOBase


def _all_frames(row: ManifestRow) -> Iterator[VideoFrame]:
    found = row.video_info
    if row.template:
        decoder = JpegDecoder()
        for number in range(found.start, found.start + found.num_frames):
            (file,) = read_frame_files(row.path, row.template, [number], width=found.width, height=found.height)
            yield decoder.decode(file)
    else:
        video = _open(row, None) if row.shard else row.path
        yield from first_frames(video, found.num_frames, stream=found.stream)


def _window(plan: ClipPlan, row: ManifestRow) -> Window:
    found = row.video_info
    return Window(plan.crop, found.rotation, found.width, found.height, mirrored=found.mirrored)


def _read_frame_files(plan: ClipPlan, row: ManifestRow) -> list[bytes]:
    numbers = (plan.frame_index_T + row.video_info.start).tolist()
    return read_frame_files(row.path, row.template, numbers, width=row.video_info.width, height=row.video_info.height)


def _for_dali(file: BinaryIO, plan: ClipPlan, row: ManifestRow, index: PacketIndex | None) -> Clip:
    if index is None:
        file.seek(0)
        return Clip(WHOLE_BY_DALI, True, plan.frame_index_T, np.frombuffer(file.read(), np.uint8))
    selection = select(index.packets_P, plan.frame_index_T, may_flush=False)
    encoded = remux(index.codec_header, _read_packets(file, row, selection), selection)
    return Clip(SPARSE_BY_DALI, True, selection.rank_T, encoded)


def _with_pyav(
    file: BinaryIO, plan: ClipPlan, row: ManifestRow, index: PacketIndex | None
) -> tuple[int, list[np.ndarray]]:
    how = WHOLE
    if index is not None:
        selection = select(index.packets_P, plan.frame_index_T, may_flush=True)
        try:
            payloads = _read_packets(file, row, selection)
            return SPARSE, decode_packets(index.codec_header, payloads, selection, _window(plan, row))
        except InexactError:
            how = FELL_BACK
    video: BinaryIO | Path = row.path
    if row.shard:
        video = file if index is None else _open(row, None)
        video.seek(0)
    return how, decode_frames(video, plan.frame_index_T, _window(plan, row), stream=row.video_info.stream)


def _read_packets(file: BinaryIO, row: ManifestRow, selection: Selection) -> list[bytes]:
    return read_packets(file, selection, together=REQUEST_TOGETHER if is_url(row.shard) else READ_TOGETHER)
