"""Estimate cost and benefit of a transcode from the headers of many files and the first frames of a few."""

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

import av
import numpy as np

from dali_pipes.decode.cost import DecodedFrames, Keyframes, count_decoded, find_keyframes, spread_sample
from dali_pipes.decode.pyav import open_video, open_video_stream
from dali_pipes.jobs.map_files import map_isolated
from dali_pipes.jobs.process_folder import process_folder
from dali_pipes.jobs.progress import gib, hours_minutes_seconds
from dali_pipes.transcode.encode import OutputSettings, reencode
from dali_pipes.transcode.job import Job
from dali_pipes.transcode.size_model import FileFacts, Trial, choose_trials, predict_total

NUM_READ = 400  # files whose headers are read
NUM_SAMPLED = 16
FRAMES_SAMPLED = 100


@dataclass(frozen=True)
class Sample:
    """One file that was tried, and its keyframes."""

    keyframes: Keyframes
    trial: Trial


@dataclass(frozen=True)
class Prediction:
    """Prediction for the files still to be written.

    Args:
        num_sampled, num_frames_sampled: number of sampled files, and of frames encoded from them.
        bytes_now, bytes_then: bytes of the sources and, predicted, of the outputs.
        bytes_low, bytes_high: range of ``bytes_then``: two standard errors.
        cpu_s: seconds of one core.
        num_wanted: frames of the clip in ``decoded_now`` and ``decoded_then``.
    """

    num_files: int
    num_sampled: int
    num_frames_sampled: int
    bytes_now: int
    bytes_then: float
    bytes_low: float
    bytes_high: float
    cpu_s: float
    num_wanted: int
    decoded_now: DecodedFrames
    decoded_then: DecodedFrames


def predict(job: Job, todo: Sequence[str], *, num_wanted: int, num_workers: int) -> Prediction | None:
    """Encode the start of a few files and extrapolate; None if none of them is usable."""
    present = [job.source_root / path for path in todo if (job.source_root / path).is_file()]
    read = partial(_facts_of, job.settings.short_side)
    found = map_isolated(read, spread_sample(present, NUM_READ), num_workers=num_workers)
    facts_of = dict(sorted((path, facts) for path, facts in found if facts))
    facts = list(facts_of.values())
    chosen = [list(facts_of.items())[index] for index in choose_trials(facts, NUM_SAMPLED)]
    with tempfile.TemporaryDirectory(prefix="transcode_", dir=process_folder()) as folder:
        work = partial(_sample, Path(folder), job.settings)
        samples = [sample for _, sample in map_isolated(work, chosen, num_workers=num_workers) if sample]
    if not samples:
        return None
    bytes_now = sum(path.stat().st_size for path in present)
    total = predict_total(facts, [sample.trial for sample in samples])
    share = len(present) / len(facts)
    gop = job.settings.keyframe_distance
    after = [Keyframes(n, tuple(range(0, n, gop))) for n in (sample.keyframes.num_packets for sample in samples)]
    return Prediction(
        num_files=len(present),
        num_sampled=len(samples),
        num_frames_sampled=sum(sample.trial.num_frames for sample in samples),
        bytes_now=bytes_now,
        bytes_then=share * total.bytes_out,
        bytes_low=share * total.low,
        bytes_high=share * total.high,
        cpu_s=share * total.cpu_s,
        num_wanted=num_wanted,
        decoded_now=_mean_decoded([sample.keyframes for sample in samples], num_wanted),
        decoded_then=_mean_decoded(after, num_wanted),
    )


def _facts_of(short_side: int, source: Path) -> FileFacts | None:
    """What the header of a file tells; None if it does not open."""
    try:
        with open_video(source) as container:
            stream = open_video_stream(container)
            seconds = (container.duration or 0) / av.time_base
            num_frames = stream.frames or seconds * float(stream.average_rate or 25)
            pixels, side = stream.width * stream.height, max(1, min(stream.width, stream.height))
            small = round(pixels * min(1.0, short_side / side) ** 2)
            codec = stream.codec_context.codec.canonical_name
    except (av.error.FFmpegError, ValueError, OSError):
        return None
    return FileFacts(codec, source.stat().st_size, max(1.0, num_frames), pixels, max(1, small))


def _sample(folder: Path, settings: OutputSettings, named: tuple[Path, FileFacts]) -> Sample | None:
    source, facts = named
    start_s = time.process_time()
    target = folder / f"{sha256(os.fsencode(source)).hexdigest()}.mp4"
    result = reencode(source, target, settings, max_frames=FRAMES_SAMPLED)
    cpu_s = time.process_time() - start_s
    if not result.frames_out:
        return None
    return Sample(find_keyframes(source), Trial(facts, result.frames_out, result.bytes_out, cpu_s))


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
        f"({p.bytes_then / p.bytes_now:.2f} times), probably {gib(p.bytes_low)} to {gib(p.bytes_high)}\n"
        f"  time: about {hours_minutes_seconds(p.cpu_s)} of one core, "
        f"{hours_minutes_seconds(p.cpu_s / num_workers)} with {num_workers} workers on one core each\n"
        f"  frames decoded for a clip of {p.num_wanted}: {p.decoded_now.from_keyframes:.0f} now -> "
        f"{p.decoded_then.from_keyframes:.0f} by a decoder that starts at keyframes; "
        f"{p.decoded_now.from_start:.0f} -> {p.decoded_then.from_start:.0f} by one that starts at the first frame"
    )


def check_room(prediction: Prediction, folder: Path) -> None:
    """Raise ValueError if the disk of ``folder`` has less space than the outputs will probably need."""
    free = shutil.disk_usage(folder).free
    if prediction.bytes_then > free:
        raise ValueError(
            f"{folder}: expected space for about {gib(prediction.bytes_then)}, found {gib(free)} free; free space, "
            "choose another folder, or a higher --quality number."
        )
