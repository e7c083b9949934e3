"""The callback of DALI's worker processes: choose a clip, read it, and substitute another if it is unreadable.

A worker imports numpy and av, neither torch nor pydantic.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from dali_pipes.jobs.worker_process import die_with_parent
from dali_pipes.loader.clip_reader import ClipReader
from dali_pipes.loader.sample import FIELDS, About, Sample
from dali_pipes.loader.watchdog import WorkerHeartbeat
from dali_pipes.manifest.manifest import Manifest
from dali_pipes.sampling.class_order import labels_to_balance
from dali_pipes.sampling.clip_plan import ClipPlan, VideoShape, plan_clip
from dali_pipes.sampling.order import EpochOrders, ReadingOrder, substitute_row
from dali_pipes.sampling.spec import SamplingRules

# Part of the message when a position has no readable clip; retrying would not help.
NONE_READABLE = "expected a readable clip"
_MOST_NAMED = 8  # files in that message


class SampleInfo(Protocol):
    """The attributes of nvidia.dali.types.SampleInfo that are used."""

    idx_in_batch: int
    iteration: int


class ClipChooser:
    """Plans the clip of a position and attempt."""

    def __init__(self, manifest: Manifest, rules: SamplingRules, order: ReadingOrder) -> None:
        self.manifest = manifest
        self._rules = rules
        self._order = order
        several = manifest.has_several_labels
        labels = labels_to_balance(order.class_sampling, manifest.rows["label"], has_several_labels=several)
        self._epochs = EpochOrders(order.seed, len(manifest), labels=labels)

    @property
    def num_test_views(self) -> int:
        """V, number of positions of a video in an evaluation pass; 1 in training."""
        return self._rules.test_views.num_test_views

    @property
    def num_positions(self) -> int:
        """Number of positions of an evaluation pass or an epoch; in evaluation, later positions are padding."""
        return len(self.manifest) * self.num_test_views

    def row_number(self, position: int, attempt: int) -> int:
        num_clips = len(self.manifest)
        epoch, index = divmod(position // self.num_test_views, num_clips)
        planned = index if self._order.mode == "eval" else self._epochs.row(epoch, index)
        if attempt == 0:
            return planned
        return substitute_row(self._order.seed, position, attempt, num_clips, planned_row=planned)

    def plan(self, position: int, attempt: int) -> ClipPlan:
        number = self.row_number(position, attempt)
        row = self.manifest.row(number)
        shape = VideoShape(row.video_info.num_frames, *row.upright_size, row.upright_pixel_aspect)
        return plan_clip(self._rules, shape, seed=self._order.seed, position=position, attempt=attempt, row=number)


@dataclass
class ClipSource:
    """The callback of external_source: SampleInfo -> arrays of a Sample. Picklable; opens the manifest itself.

    Args:
        manifest_folder: folder that ``Manifest.save`` wrote.
        reader: reads a planned clip.
        parent_pid: the process that starts the workers; they die with it.
        notes: folder where workers note which row they read (``dali_pipes.loader.watchdog``); None: no notes.
        first_iteration: iteration at which this pipeline starts; above 0 if an earlier one failed.
        pyav_batches: iterations whose clips PyAV decodes, whatever the choice is.
        pyav_rows, undecoded_by_pyav: as in ``Recovery``.
        hung_rows: rows that are no longer opened.
        fields: names of the ``FIELDS`` to pass to DALI.
    """

    manifest_folder: Path
    rules: SamplingRules
    order: ReadingOrder
    reader: ClipReader
    max_attempts: int
    parent_pid: int
    notes: Path | None = None
    first_iteration: int = 0
    pyav_batches: frozenset[int] = frozenset()
    pyav_rows: frozenset[int] = frozenset()
    undecoded_by_pyav: bool = False
    hung_rows: frozenset[int] = frozenset()
    fields: tuple[str, ...] = tuple(FIELDS)
    _chooser: ClipChooser | None = None
    _heartbeat: WorkerHeartbeat | None = None

    def __setstate__(self, state: dict[str, Any]) -> None:
        # A worker unpickles this first; at the first call it might be too late.
        self.__dict__.update(state)
        die_with_parent(self.parent_pid)

    def __call__(self, info: SampleInfo) -> tuple[np.ndarray, ...]:
        if self._chooser is None:
            self._chooser = ClipChooser(Manifest.open(self.manifest_folder), self.rules, self.order)
            self._heartbeat = WorkerHeartbeat(self.notes) if self.notes else None
        iteration = self.first_iteration + info.iteration
        position = self.order.position(iteration, info.idx_in_batch, self._chooser.num_positions)
        sample = self.read(self._chooser, position, by_pyav=iteration in self.pyav_batches)
        # A plain tuple: DALI builds new tuples of the same type from one argument, which a NamedTuple refuses.
        return tuple(FIELDS[name].array(sample) for name in self.fields)

    def read(self, chooser: ClipChooser, position: int, *, by_pyav: bool = False) -> Sample:
        """Read the clip of a position, or the first readable substitute.

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
                faults.append("reading it took longer than data.loader.hang_seconds before")
                continue
            try:
                with self._heartbeat.reading(plan.row) if self._heartbeat else nullcontext():
                    doubted = self.undecoded_by_pyav and row.video_info.num_frames_source != "decode"
                    to_pyav = by_pyav or doubted or plan.row in self.pyav_rows
                    clip = self.reader.read(plan, row, by_pyav=to_pyav)
            except Exception as error:  # a damaged file may raise anything; it becomes a fault
                faults.append(str(error) or type(error).__name__)
                continue
            padding = self.order.mode == "eval" and position >= chooser.num_positions
            about = About(position, int(padding), plan.row, row.label, attempt, clip.how)
            return Sample(clip, plan, about, faults)
        named = "; ".join(f"{path}: {fault}" for path, fault in zip(paths[:_MOST_NAMED], faults, strict=False))
        raise RuntimeError(
            f"position {position}: {NONE_READABLE}, found none among {self.max_attempts} of the list: {named}"
        )
