"""ClipLoader: batches of clips from encoded video files, through DALI."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from dali_pipes.batch import PADDING_POSITION, ClipBatch, View, label_sets_of
from dali_pipes.config import DataConfig
from dali_pipes.manifest import Manifest
from dali_pipes.sampling import rules_from_config
from dali_pipes.source import ATTEMPT, LABEL, PADDING, POSITION, ROW, ClipChooser, ClipSource, ReadingOrder, fields_for
from dali_pipes.views import check_view_names, first_view_size, student_frames
from dali_pipes.way_in import check_forced, count_ways_in, describe_ways_in
from dali_pipes.worker_process import main_module_hidden


class ClipLoader:
    """Reads clips in worker processes and renders their views; see ``dali_pipes.batch.Loader``.

    Training goes on without end from ``first_batch``; a second ``iter`` goes on where the first one stopped.
    Evaluation yields one pass a time, and starts at the first clip again even if the last pass was broken off.
    Workers start at the first batch, from the thread that asks for it; they die with that thread.

    Args:
        manifest: the clips; a folder is one that ``Manifest.save`` wrote, and is used where it lies.
        config: sampling, views and loader settings are used.
        views: which views the batches hold, of "teacher" and "student".
        mode: "train" shuffles and augments; "eval" goes through the list once, centre crop, no flip.
        batch_size: B, clips of a batch on this rank.
        global_batch_size: G, clips of a training step over all ranks and accumulated batches; None: world_size * B.
        rank, world_size: of this process.
        seed: of order, frames, crop and flip.
        first_batch: number of this rank's first training batch, for a resumed run.
        device: "cpu", or "cuda" with an optional index: views are rendered there and all tensors lie there.

    Raises:
        ValueError: sizes or names that do not fit, or ``way_in=dali`` with a file that DALI cannot decode.
    """

    def __init__(
        self,
        manifest: Manifest | Path,
        config: DataConfig,
        *,
        views: Sequence[str],
        mode: Literal["train", "eval"],
        batch_size: int,
        global_batch_size: int | None = None,
        rank: int = 0,
        world_size: int = 1,
        seed: int = 0,
        first_batch: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        check_view_names(views, config)
        self._config = config
        self._views = tuple(views)
        self._device = torch.device(device)
        self._device_kind: Literal["cpu", "cuda"] = "cuda" if self._device.type == "cuda" else "cpu"
        self._manifest = manifest if isinstance(manifest, Manifest) else Manifest.open(manifest)
        forced = config.loader.way_in
        check_forced(self._manifest, self._device_kind, forced)
        self._ways = count_ways_in(self._manifest, self._device_kind, forced)
        self._order = ReadingOrder(
            mode, seed, batch_size, global_batch_size or world_size * batch_size, rank, world_size, first_batch
        )
        self._order.check(len(self._manifest))
        self._rules = rules_from_config(config.sampling, view_size=first_view_size(config), mode=mode)
        self._chooser = ClipChooser(self._manifest, self._rules, self._order)
        self._folder = manifest if isinstance(manifest, Path) else None
        self._remove_folder: weakref.finalize | None = None
        self._iterator: Any = None
        self._iteration = 0
        self._closed = False
        self.failures: Counter[str] = Counter()

    @property
    def num_clips(self) -> int:
        """Clips of an epoch, over all ranks."""
        return len(self._manifest)

    @property
    def num_batches(self) -> int:
        """Batches of an evaluation pass on this rank (and every other); in training, of an epoch, rounded up."""
        return self._order.num_batches(self.num_clips)

    def describe_ways_in(self) -> str:
        """Who decodes how many files, in one line for the log."""
        return describe_ways_in(self._ways, self._device_kind)

    def __iter__(self) -> Iterator[ClipBatch]:
        if self._order.mode == "train":
            while True:
                yield self._next_batch()
        while self._iteration % self.num_batches:  # the rest of a pass that was broken off
            self._next_batch()
        for _ in range(self.num_batches):
            yield self._next_batch()

    def close(self) -> None:
        """End the workers and free their shared memory. Batches that were yielded stay good."""
        self._closed = True
        if self._iterator is not None:
            self._iterator = None
            gc.collect()  # DALI's pipeline is part of reference cycles; its workers end when it is collected
        if self._remove_folder is not None:
            self._remove_folder()

    def _next_batch(self) -> ClipBatch:
        if self._closed:
            raise RuntimeError("expected an open loader, found one that was closed or has failed; make a new one.")
        if self._iterator is None:
            self._iterator = self._start()
        try:
            (tensors,) = next(self._iterator)
        except Exception as error:
            message = self._describe_failure(error)
            self.close()
            raise RuntimeError(message) from error
        self._iteration += 1
        return self._to_batch(tensors)

    def _start(self) -> Any:
        from nvidia.dali.plugin.pytorch import DALIGenericIterator

        from dali_pipes.graph import ABOUT_OUTPUTS, GraphSpec, clip_pipeline

        loader = self._config.loader
        on_gpu = self._device_kind == "cuda"
        spec = GraphSpec(
            self._config.views,
            self._views,
            self._config.sampling.num_frames,
            self._ways_in(),
            on_gpu,
            loader.prefetch,
        )
        device_id = (
            (self._device.index if self._device.index is not None else torch.cuda.current_device()) if on_gpu else None
        )
        pipeline = clip_pipeline(
            self._make_source(),
            spec,
            batch_size=self._order.batch_size,
            num_threads=loader.num_threads,
            device_id=device_id,
            py_num_workers=loader.num_workers,
            py_start_method="spawn",
            prefetch_queue_depth=loader.prefetch,
        )
        with main_module_hidden():
            return DALIGenericIterator(pipeline, [*self._views, *ABOUT_OUTPUTS], size=-1, prepare_first_batch=False)

    def _make_source(self) -> ClipSource:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="reskd_loader_"))
            self._remove_folder = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
            self._manifest.save(self._folder)
        loader = self._config.loader
        return ClipSource(
            self._folder,
            self._rules,
            self._order,
            self._device_kind,
            loader.way_in,
            loader.max_attempts,
            os.getpid(),
            fields_for(self._ways_in()),
        )

    def _ways_in(self) -> frozenset[str]:
        return frozenset(way for way, _ in self._ways)

    def _to_batch(self, tensors: dict[str, Tensor]) -> ClipBatch:
        about, frame_index_NT, valid_NT = tensors["about"], tensors["frame_index_T"].long(), tensors["valid_T"]
        self._count_failures(about)
        chosen = {"student": student_frames(self._config.views.student.num_frames, frame_index_NT.shape[1])}
        views = {}
        for name in self._views:
            frames = chosen.get(name, slice(None))
            views[name] = View(
                tensors[name],
                frame_index_NT[:, frames].to(self._device, non_blocking=True),
                valid_NT[:, frames].to(self._device, non_blocking=True),
            )
        position_N = torch.where(about[:, PADDING] == 1, PADDING_POSITION, about[:, POSITION])
        label_sets = label_sets_of(self._manifest, about[:, ROW])
        return ClipBatch(views, about[:, LABEL], about[:, ROW], position_N, about[:, ATTEMPT] > 0, label_sets).to(
            self._device, non_blocking=True
        )

    def _count_failures(self, about: Tensor) -> None:
        for position, attempt in about[:, [POSITION, ATTEMPT]].tolist():
            for earlier in range(attempt):
                self.failures[self._manifest.path(self._chooser.row_number(position, earlier))] += 1

    def _describe_failure(self, error: Exception) -> str:
        places = range(self._order.batch_size)
        positions = [self._order.position(self._iteration, place, self.num_clips) for place in places]
        files = [self._manifest.path(self._chooser.row_number(position, 0)) for position in positions]
        return (
            f"reading batch {self._order.first_batch + self._iteration} failed (prefetching: it may be a later one's "
            f"clip): {error}\npositions {positions}, files {files}"
        )
