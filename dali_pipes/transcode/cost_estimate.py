"""Estimate cost and benefit of a transcode by encoding the first frames of a few files."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np

from dali_pipes.decode.cost import DecodedFrames, Keyframes, count_decoded, find_keyframes, spread_sample
from dali_pipes.jobs.map_files import map_isolated
from dali_pipes.jobs.process_folder import process_folder
from dali_pipes.jobs.progress import gib, hours_minutes_seconds
from dali_pipes.transcode.encode import OutputSettings, reencode
from dali_pipes.transcode.job import Job

NUM_SAMPLED = 8
FRAMES_SAMPLED = 100


@dataclass(frozen=True)
class Sample:
    """One file: source bytes of the encoded frames, their output bytes, CPU time."""

    keyframes: Keyframes
    num_frames: int
    bytes_in: float
    bytes_out: int
    cpu_s: float


@dataclass(frozen=True)
class Prediction:
    """Prediction for the files still to be written.

    Args:
        num_sampled, num_frames_sampled: number of sampled files, and of frames encoded from them.
        bytes_now, bytes_then: bytes of the sources and, predicted, of the outputs.
        ratio_low, ratio_high: smallest and largest ratio of output to source bytes among the sampled files.
        cpu_s: seconds of one core.
        num_wanted: frames of the clip in ``decoded_now`` and ``decoded_then``.
    """

    num_files: int
    num_sampled: int
    num_frames_sampled: int
    bytes_now: int
    bytes_then: float
    ratio_low: float
    ratio_high: float
    cpu_s: float
    num_wanted: int
    decoded_now: DecodedFrames
    decoded_then: DecodedFrames


def predict(job: Job, todo: Sequence[str], *, num_wanted: int, num_workers: int) -> Prediction | None:
    """Encode the start of a few files and extrapolate; None if none of them is usable."""
    present = [job.source_root / path for path in todo if (job.source_root / path).is_file()]
    chosen = spread_sample(present, NUM_SAMPLED)
    with tempfile.TemporaryDirectory(prefix="transcode_", dir=process_folder()) as folder:
        work = partial(_sample, Path(folder), job.settings)
        samples = [sample for _, sample in map_isolated(work, chosen, num_workers=num_workers) if sample]
    if not samples:
        return None
    bytes_now = sum(path.stat().st_size for path in present)
    share = bytes_now / sum(sample.bytes_in for sample in samples)
    ratios = [sample.bytes_out / sample.bytes_in for sample in samples]
    gop = job.settings.keyframe_distance
    after = [Keyframes(n, tuple(range(0, n, gop))) for n in (sample.keyframes.num_packets for sample in samples)]
    return Prediction(
        num_files=len(present),
        num_sampled=len(samples),
        num_frames_sampled=sum(sample.num_frames for sample in samples),
        bytes_now=bytes_now,
        bytes_then=share * sum(sample.bytes_out for sample in samples),
        ratio_low=min(ratios),
        ratio_high=max(ratios),
        cpu_s=share * sum(sample.cpu_s for sample in samples),
        num_wanted=num_wanted,
        decoded_now=_mean_decoded([sample.keyframes for sample in samples], num_wanted),
        decoded_then=_mean_decoded(after, num_wanted),
    )


def _sample(folder: Path, settings: OutputSettings, source: Path) -> Sample | None:
    start_s = time.process_time()
    target = folder / f"{sha256(os.fsencode(source)).hexdigest()}.mp4"
    result = reencode(source, target, settings, max_frames=FRAMES_SAMPLED)
    cpu_s = time.process_time() - start_s
    if not result.frames_out:
        return None
    keyframes = find_keyframes(source)
    share = min(1.0, result.frames_out / keyframes.num_packets)
    return Sample(keyframes, result.frames_out, source.stat().st_size * share, result.bytes_out, cpu_s)


def _mean_decoded(videos: Sequence[Keyframes], num_wanted: int) -> DecodedFrames:
    counts = np.array([count_decoded(keyframes, num_wanted) for keyframes in videos])
    return DecodedFrames(*counts.mean(0).tolist())


def describe_prediction(prediction: Prediction, *, num_workers: int) -> str:
    """Make a few human-readable lines."""
    p = prediction
    return (
        f"predicted from the first {FRAMES_SAMPLED} frames of {p.num_sampled} of {p.num_files} files "
        f"({p.num_frames_sampled} frames encoded):\n"
        f"  disk: {gib(p.bytes_now)} now -> about {gib(p.bytes_then)} "
        f"({p.bytes_then / p.bytes_now:.2f} times; {p.ratio_low:.2f} to {p.ratio_high:.2f} among the sampled files)\n"
        f"  time: about {hours_minutes_seconds(p.cpu_s)} of one core, "
        f"{hours_minutes_seconds(p.cpu_s / num_workers)} with {num_workers} workers on one core each\n"
        f"  frames decoded for a clip of {p.num_wanted}: {p.decoded_now.from_keyframes:.0f} now -> "
        f"{p.decoded_then.from_keyframes:.0f} by a decoder that starts at keyframes; "
        f"{p.decoded_now.from_start:.0f} -> {p.decoded_then.from_start:.0f} by one that starts at the first frame"
    )


def check_room(prediction: Prediction, folder: Path) -> None:
    """Raise ValueError if the disk of ``folder`` has less space than the outputs will need."""
    free = shutil.disk_usage(folder).free
    if prediction.bytes_then > free:
        raise ValueError(
            f"{folder}: expected space for about {gib(prediction.bytes_then)}, found {gib(free)} free; free space, "
            "choose another folder, or a higher --quality number."
        )
