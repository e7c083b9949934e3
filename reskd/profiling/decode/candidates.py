"""The candidates of the decode benchmark: their names, how each is opened, and why one may be unable to run.

``Candidate.frames_decoded`` and ``Candidate.run_stages`` cannot be measured from outside; for our own loader they must
mirror the work of its workers.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch

from dali_pipes.decode.pyav import Window, decode_frames, decode_packets
from dali_pipes.decode.remux import remux
from dali_pipes.loader.clip_loader import ClipLoader
from dali_pipes.loader.decoder_choice import DecoderRule
from dali_pipes.manifest.manifest import Manifest, ManifestRow
from dali_pipes.packets.packet_index import read_packets, select
from dali_pipes.sampling.clip_plan import ClipPlan
from dali_pipes.scan.index_reader import IndexReader
from reskd.profiling.decode.dali_readers import StockClip, StockReader, stock_batches
from reskd.profiling.decode.other_decoders import (
    DecordReader,
    PacketIndex,
    PeerClips,
    PyAVReader,
    Reader,
    StageClock,
    TorchcodecReader,
    frames_put_out_by_seeking,
    peer_batches,
)
from reskd.profiling.decode.workload import Batch, Workload
from reskd.profiling.reading_cost import packets_of_clip

INSTALL_HINT = "pip install -e '.[bench]'"
DeviceName = Literal["cpu", "cuda"]


@dataclass(frozen=True)
class Candidate:
    """One way to read clips.

    Args:
        open: yields a workload's batches, at least until its positions are used up; ``close`` ends its workers.
        why_not: the reason why it cannot read this manifest on this device here, or None.
        frames_decoded: the number of frames decoded for a plan; None if it cannot be known.
        run_stages: reads one position in this process, adding to the clock; None if its stages cannot be separated.
    """

    open: Callable[[Workload], Generator[Batch, None, None]]
    why_not: Callable[[Manifest, DeviceName], str | None]
    frames_decoded: Callable[[ManifestRow, ClipPlan, DeviceName], int | None]
    run_stages: Callable[[Workload], Callable[[int, StageClock], object]] | None = None


def open_reskd(workload: Workload) -> Generator[Batch, None, None]:
    """This project's loader."""
    loader = ClipLoader(
        workload.manifest_folder,
        workload.config(),
        order=workload.order(),
        views=("teacher", "student"),
        device=workload.device,
    )
    with contextlib.closing(loader):
        for batch in loader:
            teacher, student = batch.views["teacher"], batch.views["student"]
            yield Batch(teacher.data, student.data, teacher.frame_index_NT.cpu())


def frames_decoded_by_reskd(row: ManifestRow, plan: ClipPlan, device: DeviceName) -> int | None:
    """Of this project's loader."""
    return packets_of_clip(plan, row, DecoderRule(device), IndexReader()).num_frames


def reskd_stages(workload: Workload) -> Callable[[int, StageClock], object]:
    """The stages of a worker's work, in sequence; DALI's work after them is not included."""
    chooser, indexes = workload.chooser(), IndexReader()

    def run(position: int, clock: StageClock) -> None:
        plan = chooser.plan(position, 0)
        row = chooser.manifest.row(plan.row)
        video_info = row.video_info
        clock.lap("plan")
        by_dali = DecoderRule(workload.device).choose(video_info) == "dali"
        size = (video_info.width, video_info.height)
        window = Window(plan.crop, video_info.rotation, *size, mirrored=video_info.mirrored)
        if video_info.packets is None:
            if by_dali:
                row.path.read_bytes()
                clock.lap("read")
            else:
                decode_frames(row.path, plan.frame_index_T, window, stream=video_info.stream)
                clock.lap("decode")
            return
        index = indexes.read(video_info.packets, video_info.num_packets)
        selection = select(index.packets_P, plan.frame_index_T, may_flush=not by_dali)
        with row.path.open("rb", buffering=0) as file:
            payloads = read_packets(file, selection)
        clock.lap("read")
        if by_dali:
            remux(index.codec_header, payloads, selection)
            clock.lap("remux")
        else:
            decode_packets(index.codec_header, payloads, selection, window)
            clock.lap("decode")

    return run


def _peer(make_reader: Callable[[], Reader], package: str | None = None) -> Candidate:
    def run_stages(workload: Workload) -> Callable[[int, StageClock], object]:
        return PeerClips(workload, make_reader).clip

    return Candidate(
        open=lambda workload: peer_batches(workload, make_reader),
        why_not=lambda manifest, device: _why_not_importable(package) if package else None,
        frames_decoded=_by_seeking,
        run_stages=run_stages,
    )


def _by_seeking(row: ManifestRow, plan: ClipPlan, device: DeviceName) -> int:
    return frames_put_out_by_seeking(PacketIndex.of(row), plan.frame_index_T.tolist())


def _why_not_importable(package: str) -> str | None:
    try:
        importlib.import_module(package)
    except (ImportError, OSError, RuntimeError) as error:  # torchcodec raises RuntimeError where FFmpeg is missing
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return f"{package} does not import ({reason}); {INSTALL_HINT}, and FFmpeg's shared libraries for torchcodec"
    return None


def _stock(reader: StockReader) -> Candidate:
    def open_batches(workload: Workload) -> Generator[Batch, None, None]:
        for batch in stock_batches(
            stock_clips(workload),
            reader=reader,
            batch_size=workload.batch_size,
            sizes=workload.sizes,
            num_threads=workload.num_workers,
            device_id=torch.cuda.current_device() if workload.device == "cuda" else None,
        ):
            yield Batch(*batch)

    def why_not(manifest: Manifest, device: DeviceName) -> str | None:
        rule = DecoderRule(device, "dali")
        reasons = (rule.why_not_dali(manifest.row(number).video_info) for number in range(len(manifest)))
        return next((f"DALI on {device}: {reason}" for reason in reasons if reason), None)

    def frames_decoded(row: ManifestRow, plan: ClipPlan, device: DeviceName) -> int | None:
        return int(plan.frame_index_T.max()) + 1 if reader == "decoders.video" else None

    return Candidate(open_batches, why_not, frames_decoded)


def stock_clips(workload: Workload) -> list[StockClip]:
    """The workload's plans, written out."""
    chooser = workload.chooser()
    plans = [chooser.plan(position, 0) for position in range(workload.num_positions)]
    return [StockClip(chooser.manifest.row(p.row).path, p.frame_index_T, p.crop, p.flip) for p in plans]


def _torchcodec_cuda() -> Candidate:
    """NVDEC through torchcodec. Threads of one process, as a decoder releases the GIL and CUDA does not survive a fork.
    UNPROVEN: never run on a GPU."""

    def open_batches(workload: Workload) -> Generator[Batch, None, None]:
        clips = PeerClips(workload, partial(TorchcodecReader, "exact", device="cuda"))
        with ThreadPoolExecutor(workload.num_workers) as pool:
            for first in range(0, workload.num_positions, workload.batch_size):
                found = list(pool.map(clips.__getitem__, range(first, first + workload.batch_size)))
                yield Batch(*(torch.stack(tensors) for tensors in zip(*found, strict=True)))

    def why_not(manifest: Manifest, device: DeviceName) -> str | None:
        return "it is for --device cuda" if device == "cpu" else _why_not_importable("torchcodec")

    return Candidate(open_batches, why_not, _by_seeking)


CANDIDATES: dict[str, Candidate] = {
    "reskd": Candidate(open_reskd, lambda manifest, device: None, frames_decoded_by_reskd, reskd_stages),
    "dali-reader": _stock("experimental.readers.video"),
    "dali-decoder": _stock("decoders.video"),
    "torchcodec-exact": _peer(partial(TorchcodecReader, "exact"), "torchcodec"),
    "torchcodec-approximate": _peer(partial(TorchcodecReader, "approximate"), "torchcodec"),
    "torchcodec-cuda": _torchcodec_cuda(),
    "pyav": _peer(PyAVReader),
    "decord": _peer(DecordReader, "decord"),
}


def check_names(names: Sequence[str]) -> None:
    """Refuse names of candidates that do not exist.

    Raises:
        ValueError: names the unknown and the known ones.
    """
    unknown = [name for name in names if name not in CANDIDATES]
    if unknown:
        raise ValueError(f"--candidates: expected some of {', '.join(CANDIDATES)}, found {', '.join(unknown)}.")
