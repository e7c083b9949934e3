"""What DALI's worker processes call for each clip: choose it, read it, and stand in for what cannot be read.

A worker imports numpy and av, neither torch nor pydantic.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from dali_pipes.jobs.worker_process import die_with_parent
from dali_pipes.loader.clip_reader import Clip, ClipReader
from dali_pipes.loader.watchdog import ReadingDiary
from dali_pipes.manifest.manifest import Manifest
from dali_pipes.sampling.clip_plan import ClipPlan, plan_clip
from dali_pipes.sampling.order import EpochOrders, ReadingOrder, substitute_row
from dali_pipes.sampling.spec import SamplingRules

# Columns of ``Sample.about``.
POSITION, PADDING, ROW, LABEL, ATTEMPT, HOW = range(6)
# Part of the message when a position has no readable clip: trying again is of no use.
NONE_READABLE = "expected a readable clip"
# Bytes of ``Sample.faults``: what was wrong with the clips that a substitute stands in for.
FAULT_BYTES = 1024


class SampleInfo(Protocol):
    """The part of nvidia.dali.types.SampleInfo that is used."""

    idx_in_batch: int
    iteration: int


class Sample(NamedTuple):
    """What external_source receives for a clip; always the same fields, types and numbers of dimensions.

    Args:
        encoded: uint8 (bytes,), a video or T JPEG files end to end; one zero byte where the host decoded.
        raw_THWC: uint8 RGB, upright and cropped; (1, 1, 1, 3) where there is nothing to render.
        teacher_THWC, student_THWC: uint8 RGB, views that the host has rendered, else (1, 1, 1, 3).
        is_encoded: bool, scalar.
        decode_index_T: int32, where the wanted frames are in ``encoded``: their numbers, or where each JPEG file ends.
        frame_index_T: int32, their numbers in the file.
        valid_T: bool.
        student_k: int32, which of them the student sees.
        student_valid_k: bool.
        crop_start: int32 (y, x), for DALI to crop with.
        crop_shape: int32 (height, width).
        flip: int32, scalar.
        about: int64 (6,): position, padding, row, label, attempt, how it was read.
        faults: uint8 (FAULT_BYTES,): JSON, one reason for each attempt that failed, filled up with spaces.
    """

    encoded: np.ndarray
    raw_THWC: np.ndarray
    teacher_THWC: np.ndarray
    student_THWC: np.ndarray
    is_encoded: np.ndarray
    decode_index_T: np.ndarray
    frame_index_T: np.ndarray
    valid_T: np.ndarray
    student_k: np.ndarray
    student_valid_k: np.ndarray
    crop_start: np.ndarray
    crop_shape: np.ndarray
    flip: np.ndarray
    about: np.ndarray
    faults: np.ndarray


_FOR_DALI = {"encoded", "decode_index_T", "crop_start", "crop_shape", "flip"}
_FOR_EACH = {"frame_index_T", "valid_T", "student_k", "student_valid_k", "about", "faults"}


def fields_for(ways: frozenset[str], rendered: Sequence[str]) -> tuple[str, ...]:
    """The fields that the graph uses.

    Args:
        ways: the ways in that occur, "dali" and "host".
        rendered: the views that the host renders of what it decodes; none where DALI does.
    """
    used = set(_FOR_EACH)
    if "dali" in ways:
        used |= _FOR_DALI
    if "host" in ways:
        used |= {f"{name}_THWC" for name in rendered} or {"raw_THWC", "flip"}
    if len(ways) == 2:
        used.add("is_encoded")
    return tuple(name for name in Sample._fields if name in used)


class ClipChooser:
    """From a position and an attempt to the plan of a clip."""

    def __init__(self, manifest: Manifest, rules: SamplingRules, order: ReadingOrder) -> None:
        self.manifest = manifest
        self._rules = rules
        self._order = order
        self._epochs = EpochOrders(order.seed, len(manifest))

    @property
    def num_views(self) -> int:
        """V, positions of a video in an evaluation pass; 1 in training."""
        return self._rules.views.num_views

    @property
    def num_positions(self) -> int:
        """Positions of an evaluation pass, or of an epoch; those beyond are an evaluation's padding."""
        return len(self.manifest) * self.num_views

    def row_number(self, position: int, attempt: int) -> int:
        num_clips = len(self.manifest)
        epoch, place = divmod(position // self.num_views, num_clips)
        planned = place if self._order.mode == "eval" else self._epochs.row(epoch, place)
        if attempt == 0:
            return planned
        return substitute_row(self._order.seed, position, attempt, num_clips, planned_row=planned)

    def plan(self, position: int, attempt: int) -> ClipPlan:
        number = self.row_number(position, attempt)
        row = self.manifest.row(number)
        height, width = row.upright_size
        return plan_clip(
            self._rules,
            seed=self._order.seed,
            position=position,
            attempt=attempt,
            row=number,
            num_frames=row.facts.num_frames,
            height=height,
            width=width,
        )


@dataclass
class ClipSource:
    """The callback of external_source: SampleInfo -> fields of a Sample. Picklable; opens the manifest itself.

    Args:
        manifest_folder: where ``Manifest.save`` wrote.
        reader: how a clip is read.
        parent_pid: the process that starts the workers, with which they die.
        notes: folder where workers note what they read (``dali_pipes.loader.watchdog``); None: they do not.
        first_iteration: of this pipeline, where an earlier one failed.
        host_batches: iterations whose clips the host decodes whatever their way in is.
        hung_rows: rows that are not opened any more.
        fields: which fields of a Sample to hand to DALI.
    """

    manifest_folder: Path
    rules: SamplingRules
    order: ReadingOrder
    reader: ClipReader
    max_attempts: int
    parent_pid: int
    notes: Path | None = None
    first_iteration: int = 0
    host_batches: frozenset[int] = frozenset()
    hung_rows: frozenset[int] = frozenset()
    fields: tuple[str, ...] = Sample._fields
    _chooser: ClipChooser | None = None
    _diary: ReadingDiary | None = None

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Unpickling is the first thing a worker does; at the first call it might be too late.
        self.__dict__.update(state)
        die_with_parent(self.parent_pid)

    def __call__(self, info: SampleInfo) -> tuple[np.ndarray, ...]:
        if self._chooser is None:
            self._chooser = ClipChooser(Manifest.open(self.manifest_folder), self.rules, self.order)
            self._diary = ReadingDiary(self.notes) if self.notes else None
        iteration = self.first_iteration + info.iteration
        position = self.order.position(iteration, info.idx_in_batch, self._chooser.num_positions)
        sample = self.read(self._chooser, position, by_host=iteration in self.host_batches)
        # A plain tuple: DALI makes new ones of the same type from a single argument, which a NamedTuple refuses.
        return tuple(getattr(sample, name) for name in self.fields)

    def read(self, chooser: ClipChooser, position: int, *, by_host: bool = False) -> Sample:
        """The clip of a position, or the first of its substitutes that can be read.

        Raises:
            RuntimeError: none of ``max_attempts`` clips could be read; names them.
        """
        faults: list[str] = []
        paths: list[str] = []
        for attempt in range(self.max_attempts):
            plan = chooser.plan(position, attempt)
            row = chooser.manifest.row(plan.row)
            paths.append(str(row.path))
            if plan.row in self.hung_rows:
                faults.append("reading it hung before")
                continue
            try:
                with self._diary.reading(plan.row) if self._diary else nullcontext():
                    clip = self.reader.read(plan, row, by_host=by_host)
            except Exception as error:  # whatever a damaged file raises; handed on as a fault
                faults.append(str(error) or type(error).__name__)
                continue
            return self._sample(plan, row.label, clip, faults, chooser.num_positions)
        named = "; ".join(f"{path}: {fault}" for path, fault in zip(paths, faults, strict=True))
        raise RuntimeError(
            f"position {position}: {NONE_READABLE}, found none in {self.max_attempts} attempts "
            f"(data.loader.max_attempts): {named}"
        )

    def _sample(self, plan: ClipPlan, label: int, clip: Clip, faults: list[str], num_positions: int) -> Sample:
        padding = self.order.mode == "eval" and plan.position >= num_positions
        about = [plan.position, padding, plan.row, label, plan.attempt, clip.how]
        return Sample(
            encoded=clip.encoded,
            raw_THWC=clip.raw_THWC,
            teacher_THWC=clip.teacher_THWC,
            student_THWC=clip.student_THWC,
            is_encoded=np.array(clip.is_encoded),
            decode_index_T=clip.decode_index_T,
            frame_index_T=plan.frame_index_T,
            valid_T=plan.valid_T,
            student_k=plan.student_k,
            student_valid_k=plan.student_valid_k,
            crop_start=np.array(plan.crop[:2], np.int32),
            crop_shape=np.array(plan.crop[2:], np.int32),
            flip=np.array(plan.flip, np.int32),
            about=np.array(about, np.int64),
            faults=pack_faults(faults),
        )


def pack_faults(faults: Sequence[str]) -> np.ndarray:
    """uint8 (FAULT_BYTES,): as JSON, each reason cut so that all fit."""
    longest = FAULT_BYTES // max(1, len(faults)) - 8
    ascii_only = [fault.encode("ascii", "replace").decode().replace("\\", "/").replace('"', "'") for fault in faults]
    text = json.dumps([fault[:longest] for fault in ascii_only])
    return np.frombuffer(text.ljust(FAULT_BYTES).encode(), np.uint8)


def unpack_faults(packed: bytes) -> list[str]:
    """What ``pack_faults`` packed."""
    faults: list[str] = json.loads(packed)
    return faults
