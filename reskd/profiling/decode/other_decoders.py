"""Reads the same clips with PyAV, torchcodec and decord in the workers of torch's DataLoader.

Each is used as its documentation advises: one decoder thread per worker, wanted frames requested sorted and together, a
seek if a keyframe lies between, uint8 resized by torch's vectorized code. All get the clip's plan from dali_pipes.

Shape letters: N clips, T frames, H W pixels, C colors.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dali_pipes.decode.picture_shape import upright
from dali_pipes.decode.pyav import open_video, open_video_stream, to_rgb
from dali_pipes.manifest.manifest import ManifestRow
from dali_pipes.sampling.clip_plan import ClipPlan
from reskd.profiling.decode.workload import Batch, Workload


@dataclass
class StageClock:
    """Assigns a process's cpu time to stages: ``lap`` adds the time since the last lap to a stage."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    _since: float = field(default_factory=time.process_time)

    def lap(self, stage: str) -> None:
        now = time.process_time()
        self.seconds[stage] += now - self._since
        self._since = now


class Frames(NamedTuple):
    """Whole upright pictures, uint8 (T, H, W, C); ``num_decoded``: frames that the decoder output, None if hidden."""

    data_THWC: Tensor
    num_decoded: int | None


# (row of the manifest, plan, clock) -> pictures
Reader = Callable[[ManifestRow, ClipPlan, StageClock], Frames]


class PacketIndex(NamedTuple):
    """Display times of a file's packets, sorted, and the indices of its keyframes among them."""

    pts: tuple[int, ...]
    keyframes: tuple[int, ...]

    @staticmethod
    def of(row: ManifestRow) -> PacketIndex | None:
        """None if a frame's number does not follow from its time, so that seeking would not be exact."""
        if row.video_info.codec == "mpeg4":  # packed B-frames come out in another order than that of their times
            return None
        with open_video(row.path) as container:
            stream = open_video_stream(container, number=row.video_info.stream)
            packets = [(packet.pts, packet.is_keyframe) for packet in container.demux(stream) if packet.size]
        times = [pts for pts, _ in packets if pts is not None]
        if len(set(times)) != row.video_info.num_frames or len(packets) != row.video_info.num_frames:
            return None
        order = sorted((pts, is_key) for pts, is_key in packets if pts is not None)
        keyframes = tuple(index for index, (_, is_key) in enumerate(order) if is_key)
        return PacketIndex(tuple(pts for pts, _ in order), keyframes) if keyframes[:1] == (0,) else None

    def keyframe_before(self, index: int) -> int:
        return self.keyframes[bisect_right(self.keyframes, index) - 1]


def frames_put_out_by_seeking(index: PacketIndex | None, wanted: Sequence[int]) -> int:
    """The number of frames that a decoder outputs if it decodes on, or seeks where a keyframe is nearer to the wanted
    frame. Keyframes at 0, 12, 24 and frames 3, 5, 30 wanted: 0 to 5 and 24 to 30 make 13."""
    if index is None:
        return max(wanted) + 1
    count, position = 0, 0
    for number in sorted(set(wanted)):
        position = max(position, index.keyframe_before(number))
        count += number + 1 - position
        position = number + 1
    return count


class PyAVReader:
    """PyAV: seeks to a keyframe that is nearer than the current frame, if seeking is exact; else decodes on.

    The packet index is kept after the first visit to a file, as if it had been made beforehand.
    """

    def __init__(self) -> None:
        self._indices: dict[Path, PacketIndex | None] = {}

    def __call__(self, row: ManifestRow, plan: ClipPlan, clock: StageClock) -> Frames:
        if row.path not in self._indices:
            self._indices[row.path] = PacketIndex.of(row)
        index = self._indices[row.path]
        pictures: dict[int, np.ndarray] = {}
        num_decoded = 0
        with open_video(row.path) as container:
            stream = open_video_stream(container, number=row.video_info.stream)
            frames, position = self._frames(container, stream, index, clock), 0
            for wanted in sorted(set(plan.frame_index_T.tolist())):
                if index is not None and index.keyframe_before(wanted) > position:
                    first = index.keyframe_before(wanted)
                    container.seek(index.pts[first], stream=stream, backward=True)
                    frames, position = self._frames(container, stream, index, clock), first
                for number, frame in frames:
                    num_decoded, position = num_decoded + 1, number + 1
                    if number == wanted:
                        pictures[wanted] = to_rgb(frame, width=row.video_info.width, height=row.video_info.height)
                        clock.lap("convert")
                        break
                else:
                    raise ValueError(f"{row.path}: expected frame {wanted}, found {position} frames; scan it again.")
        rotation, mirrored = row.video_info.rotation, row.video_info.mirrored
        turned = [upright(pictures[number], rotation, mirrored=mirrored) for number in plan.frame_index_T.tolist()]
        stacked = torch.from_numpy(np.stack(turned))
        clock.lap("convert")
        return Frames(stacked, num_decoded)

    def _frames(
        self, container: Any, stream: Any, index: PacketIndex | None, clock: StageClock
    ) -> Iterator[tuple[int, Any]]:
        """(index in display order, frame) from the container's position on. Damaged pictures before an open keyframe
        may be output too; their indices are below that keyframe's, so they are never used."""
        number = 0
        for packet in container.demux(stream):
            clock.lap("demux")
            decoded = packet.decode()
            clock.lap("decode")
            for frame in decoded:
                yield (number if index is None else bisect_right(index.pts, frame.pts) - 1), frame
                number += 1


class TorchcodecReader:
    """torchcodec: one decoder per clip, one call for all of its frames.

    Args:
        seek_mode: "exact" scans the file first; "approximate" trusts the header.
        device: "cpu", or "cuda" for NVDEC.
    """

    def __init__(self, seek_mode: Literal["exact", "approximate"], device: str = "cpu") -> None:
        self._options: dict[str, Any] = {
            "seek_mode": seek_mode,
            "device": device,
            "dimension_order": "NHWC",
            "num_ffmpeg_threads": 1,
        }

    def __call__(self, row: ManifestRow, plan: ClipPlan, clock: StageClock) -> Frames:
        from torchcodec.decoders import VideoDecoder

        decoder = VideoDecoder(str(row.path), **self._options)
        clock.lap("demux")
        pictures = decoder.get_frames_at(plan.frame_index_T.tolist()).data
        clock.lap("decode")
        return Frames(pictures, None)


class DecordReader:
    """decord: one reader per clip, one call for all of its frames."""

    def __call__(self, row: ManifestRow, plan: ClipPlan, clock: StageClock) -> Frames:
        import decord

        reader = decord.VideoReader(str(row.path), ctx=decord.cpu(0), num_threads=1)
        clock.lap("demux")
        pictures = torch.from_numpy(reader.get_batch(plan.frame_index_T.tolist()).asnumpy())
        clock.lap("decode")
        return Frames(pictures, None)


def render_views(
    pictures_THWC: Tensor, plan: ClipPlan, sizes: tuple[tuple[int, int], tuple[int, int]]
) -> tuple[Tensor, Tensor]:
    """Teacher's and student's view (T, H, W, C), uint8 and contiguous: cropped, resized, flipped, and resized again."""
    y, x, height, width = plan.crop
    crop_TCHW = pictures_THWC[:, y : y + height, x : x + width].contiguous().permute(0, 3, 1, 2)
    teacher = F.interpolate(crop_TCHW, size=sizes[0], mode="bilinear", antialias=False)
    if plan.flip:
        teacher = teacher.flip(-1)
    student = F.interpolate(teacher, size=sizes[1], mode="bilinear", antialias=False)
    return teacher.permute(0, 2, 3, 1).contiguous(), student.permute(0, 2, 3, 1).contiguous()


class PeerClips(Dataset):
    """Position -> views of the clip that dali_pipes plans there. Opens the manifest in the worker."""

    def __init__(self, workload: Workload, make_reader: Callable[[], Reader]) -> None:
        self._workload = workload
        self._make_reader = make_reader
        self._opened: tuple[Any, Reader] | None = None

    def __getitem__(self, position: int) -> Batch:
        return self.clip(position, StageClock())

    def clip(self, position: int, clock: StageClock) -> Batch:
        """One clip, with its stages added to ``clock``."""
        if self._opened is None:
            self._opened = self._workload.chooser(), self._make_reader()
        chooser, reader = self._opened
        plan = chooser.plan(position, 0)
        clock.lap("plan")
        pictures = reader(chooser.manifest.row(plan.row), plan, clock).data_THWC
        teacher, student = render_views(pictures, plan, self._workload.sizes)
        clock.lap("resize")
        return Batch(teacher, student, torch.from_numpy(plan.frame_index_T).long())


def peer_batches(workload: Workload, make_reader: Callable[[], Reader]) -> Generator[Batch, None, None]:
    """Batches through a DataLoader; with ``workload.device`` "cuda" copied there from pinned memory."""
    loader = DataLoader(
        PeerClips(workload, make_reader),
        batch_size=workload.batch_size,
        sampler=range(workload.num_positions),
        num_workers=workload.num_workers,
        multiprocessing_context="fork",  # the default on Linux: workers share their parent's imports
        pin_memory=workload.device == "cuda",
    )
    for batch in loader:
        teacher, student = (tensor.to(workload.device, non_blocking=True) for tensor in batch[:2])
        yield Batch(teacher, student, batch[2])
