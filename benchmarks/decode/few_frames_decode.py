"""Measures the cost of reading a student's k frames in a test, with all T frames of the clip decoded or these k alone.

Both give the same pixels. The timed work is that of a loader's worker, in this process: plan, read, decode, render.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from dali_pipes.choices import FrameSelection
from dali_pipes.config import DataConfig
from dali_pipes.loader.clip_reader import ClipReader
from dali_pipes.loader.cpu_render import render_plan
from dali_pipes.loader.decoder_choice import BY_PYAV
from dali_pipes.loader.external_source import ClipChooser
from dali_pipes.manifest.manifest import Manifest
from dali_pipes.sampling.order import ReadingOrder
from dali_pipes.sampling.spec import StudentFrames, first_view_size, rules_from_config
from reskd.profiling.decode.candidates import frames_decoded_by_reskd
from reskd.profiling.measurement_rows import quantiles

Decoded = Literal["clip", "student"]


@dataclass(frozen=True)
class Case:
    """A student that sees k of T frames; ``decoded``: with the whole clip, or these k alone."""

    k: int
    decoded: Decoded


@dataclass(frozen=True)
class Row:
    """The measurement of one case; milliseconds of cpu time per clip, over rounds.

    Attributes:
        frames_decoded: mean per clip.
        amplification: the same over the student's k frames.
    """

    files: str
    codec: str
    num_frames: int
    selection: FrameSelection
    k: int
    decoded: Decoded
    num_clips: int
    rounds: int
    cpu_ms: float
    cpu_ms_p20: float
    cpu_ms_p80: float
    frames_decoded: float
    amplification: float


class Reading:
    """A worker's work for one case.

    Args:
        sizes: (height, width) of the teacher's and the student's view.
    """

    def __init__(
        self,
        manifest: Manifest,
        case: Case,
        *,
        num_frames: int,
        selection: FrameSelection,
        sizes: tuple[tuple[int, int], tuple[int, int]] = ((224, 224), (112, 112)),
    ) -> None:
        student = {"size": sizes[1], "num_frames": case.k, "selection": selection}
        views = {"teacher": {"size": sizes[0]}, "student": student}
        config = DataConfig.model_validate(
            {"root": ".", "train": "folders", "sampling": {"num_frames": num_frames}, "views": views}
        )
        rules = rules_from_config(
            config.sampling,
            view_size=first_view_size(config),
            mode="eval",
            student=StudentFrames(case.k, selection, alone=case.decoded == "student"),
        )
        self.case = case
        self.chooser = ClipChooser(manifest, rules, ReadingOrder(mode="eval", batch_size=1))
        self._reader = ClipReader(BY_PYAV, render=render_plan(config.views, ("student",)))

    def pixels(self, position: int) -> np.ndarray:
        """uint8 (k, height, width, 3)."""
        plan = self.chooser.plan(position, 0)
        return self._reader.read(plan, self.chooser.manifest.row(plan.row)).student_THWC

    def frames_decoded(self, positions: Sequence[int]) -> float:
        """Mean per clip."""
        plans = [self.chooser.plan(position, 0) for position in positions]
        counts = [frames_decoded_by_reskd(self.chooser.manifest.row(plan.row), plan, "cpu") for plan in plans]
        return statistics.mean(count for count in counts if count is not None)


class Sweep(NamedTuple):
    """The measurements to make.

    Args:
        ks: numbers of frames that the student sees.
        num_frames: T, of a clip.
        num_clips: videos, spread evenly over the list.
        rounds: turns per k and decoding method.
    """

    ks: Sequence[int]
    num_frames: int
    num_clips: int
    rounds: int
    selection: FrameSelection = "uniform"


def measure_k(files: str, manifest_folder: Path, sweep: Sweep) -> list[Row]:
    """Measure a row per k and decoding method. They take turns, in another order in each round.

    Args:
        files: the name of the videos in the rows.

    Raises:
        ValueError: k above T, or the two methods give different pixels.
    """
    manifest = Manifest.open(manifest_folder)
    sweep = sweep._replace(num_clips=min(sweep.num_clips, len(manifest)))
    positions = [number * len(manifest) // sweep.num_clips for number in range(sweep.num_clips)]
    cases = [Case(k, decoded) for k in sweep.ks for decoded in ("clip", "student")]
    readings = [Reading(manifest, case, num_frames=sweep.num_frames, selection=sweep.selection) for case in cases]
    _check_equal(readings, positions)
    milliseconds = _take_turns(readings, positions, sweep.rounds)
    codec = manifest.row(0).video_info.codec
    rows = []
    for reading in readings:
        case, decoded = reading.case, reading.frames_decoded(positions)
        low, middle, high = quantiles(milliseconds[case])
        rows.append(
            Row(
                files=files,
                codec=codec,
                num_frames=sweep.num_frames,
                selection=sweep.selection,
                k=case.k,
                decoded=case.decoded,
                num_clips=sweep.num_clips,
                rounds=sweep.rounds,
                cpu_ms=middle,
                cpu_ms_p20=low,
                cpu_ms_p80=high,
                frames_decoded=decoded,
                amplification=decoded / case.k,
            )
        )
    return rows


def _take_turns(readings: Sequence[Reading], positions: Sequence[int], rounds: int) -> dict[Case, list[float]]:
    """Milliseconds of cpu time per clip: for each case, a number per round."""
    milliseconds: dict[Case, list[float]] = {reading.case: [] for reading in readings}
    for number in range(rounds):
        shift = number * len(readings) // rounds
        for reading in (*readings[shift:], *readings[:shift]):
            started = time.process_time()
            for position in positions:
                reading.pixels(position)
            milliseconds[reading.case].append(1e3 * (time.process_time() - started) / len(positions))
    return milliseconds


def _check_equal(readings: Sequence[Reading], positions: Sequence[int]) -> None:
    for clip, student in zip(readings[::2], readings[1::2], strict=True):
        for position in positions:
            if not np.array_equal(clip.pixels(position), student.pixels(position)):
                raise ValueError(
                    f"expected equal pixels by both methods, found others in clip {position}, {clip.case}."
                )
