"""ClipLoader: batches of clips from encoded video files, through DALI, or torch's DataLoader where there is none."""

from __future__ import annotations

import gc
import multiprocessing
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsInt

import torch

from dali_pipes.augmentation.augmenter import make_augmenter
from dali_pipes.batch import PADDING_POSITION, ClipBatch
from dali_pipes.config import DataConfig
from dali_pipes.fault_log import NO_LOG, FaultLog, LoaderLog, UnreadableDataError
from dali_pipes.jobs.cores import Parallelism, choose_parallelism, cores_of_rank
from dali_pipes.jobs.process_folder import process_folder
from dali_pipes.jobs.worker_process import starting_workers
from dali_pipes.loader.cache_choice import open_cache
from dali_pipes.loader.clip_reader import ClipReader
from dali_pipes.loader.cpu_render import render_plan
from dali_pipes.loader.dali_outputs import account_for, augmented, doubtful_rows, to_batch
from dali_pipes.loader.decoder_choice import decoder_rule, has_dali
from dali_pipes.loader.external_source import ClipChooser, ClipSource
from dali_pipes.loader.memory import check_shared_memory, needed_bytes
from dali_pipes.loader.recovery import Recovery, reason_of
from dali_pipes.loader.sample import fields_for
from dali_pipes.loader.torch_batches import TorchBatches
from dali_pipes.loader.watchdog import Watchdog, forget
from dali_pipes.manifest.manifest import Manifest
from dali_pipes.sampling.listed_batches import ListedBatches
from dali_pipes.sampling.order import ReadingOrder, most_attempts
from dali_pipes.sampling.spec import num_frames_read, rules_for_views

if TYPE_CHECKING:
    from dali_pipes.loader.dali_graph import GraphSpec


class ClipLoader(ListedBatches):
    """Reads clips in worker processes and renders their views; see ``dali_pipes.batch.Loader``.

    Training runs without end from ``first_batch``; a second ``iter`` continues where the first one stopped.
    Evaluation yields one pass per ``iter``, from the first clip even if the last pass was not finished.
    Workers start with the first batch, from the thread that requests it, and die with that thread. Leaving a ``with``
    block closes the loader. ``len(loader)`` is ``num_batches``.

    Args:
        manifest: the clips, or a folder that ``Manifest.save`` wrote, which is used without copying it.
        config: its sampling, views and loader settings are used.
        order: mode (training or evaluation), seed and batches.
        views: views in the batches: "teacher", "student" or both.
        device: "cpu", or "cuda" with an optional index: views are rendered and all tensors are put there.
        log: where faults are reported.

    Raises:
        ValueError: invalid sizes or names, ``decoder=dali`` with a file that DALI cannot decode, a cache of frames
            that DALI is to decode, or too little room for the cache or the workers' shared memory.
    """

    def __init__(
        self,
        manifest: Manifest | Path,
        config: DataConfig,
        *,
        order: ReadingOrder,
        views: Sequence[str],
        device: torch.device | str = "cpu",
        log: LoaderLog = NO_LOG,
    ) -> None:
        self._rules = rules_for_views(config, views, mode=order.mode, test_views=order.test_views)
        self._manifest = manifest if isinstance(manifest, Manifest) else Manifest.open(manifest)
        super().__init__(self._manifest, order, tuple(views))
        self._config, self._device = config, torch.device(device)
        self._rule = decoder_rule(self._device, config)
        self._rule.check_forced(self._manifest)
        self._decoders = self._rule.count(self._manifest)
        self._cache = open_cache(config, self._manifest, self._decoders.decoders)
        self._parallelism = self._choose_parallelism()
        order.check(len(self._manifest))
        self._chooser = ClipChooser(self._manifest, self._rules, order)
        self._folder = self._manifest.folder
        self._notes: Path | None = None
        self._remove_notes: weakref.finalize | None = None
        # On a GPU, rendering costs next to nothing; on a CPU, the workers render faster than DALI.
        self._render = render_plan(config.views, views) if self._rule.device == "cpu" else None
        self._augmenter = make_augmenter(config, seed=order.seed) if order.mode == "train" else None
        self._iterator: Any = None
        self._watchdog: Watchdog | None = None
        self._iteration = 0
        self._closed = False
        self._on_message = log.on_message
        self._recovery = Recovery(config.loader.prefetch)
        fields = fields_for(self._decoders_used(), self._views if self._render else ())
        of_clips = order.batch_size, num_frames_read(self._views, config)
        check_shared_memory(needed_bytes(self._manifest, config, fields, *of_clips))
        self.faults = FaultLog(log.quarantine, config.loader.max_bad_fraction, log.on_message)

    def path(self, video_id: SupportsInt) -> str:
        """Path of the video with this entry of ``ClipBatch.ids_N``, as listed: relative to ``data.root``."""
        return self._manifest.path(self._check_row(video_id))

    def describe_reading(self) -> str:
        """One line for the log: the number of files of each decoder, how they are read, and by how many processes."""
        parts = [self._decoders.describe()]
        if self._cache is not None:
            parts.append(f"decoded frames are kept in {self._cache.folder}")
        elif self._manifest.storage.kind != "frames":  # there, each frame is a separate file
            indexed = int((self._manifest.rows["part"] >= 0).sum()) if self._config.loader.sparse_decode else 0
            parts.append(f"{indexed} of {len(self._manifest)} files read by their needed packets only")
        workers, threads = self._parallelism
        by = f"threads of DALI: {threads}" if has_dali() else "batches by torch's DataLoader, as DALI is not installed"
        parts.append(f"workers: {workers}, {by}")
        return "; ".join(parts)

    def __iter__(self) -> Iterator[ClipBatch]:
        if self._order.mode == "train":
            while True:
                yield self._next_batch()
        while self._iteration % self.num_batches:  # finish an interrupted pass
            self._next_batch()
        self.faults.start_pass()
        for _ in range(self.num_batches):
            yield self._next_batch()

    def close(self) -> None:
        """End the workers and free their shared memory. Batches already yielded stay valid."""
        self._closed = True
        self._stop()
        if self._remove_notes is not None:
            self._remove_notes()

    def __enter__(self) -> ClipLoader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _num_yielded(self) -> int:
        return self._iteration

    def _go_to(self, num_yielded: int) -> None:
        self._stop()
        self._iteration = num_yielded

    def _stop(self) -> None:
        self._iterator = None
        gc.collect()  # DALI's pipeline is in reference cycles; its workers end when it is collected
        if self._watchdog is not None:
            self._watchdog.close()
            self._watchdog = None

    def _next_batch(self) -> ClipBatch:
        if self._closed:
            raise RuntimeError("expected an open loader, found one that was closed or has failed; make a new one.")
        while True:
            try:
                if self._iterator is None:
                    self._iterator = self._start()
                assert self._watchdog is not None
                with self._watchdog.watching():
                    tensors = next(self._iterator)
            except Exception as error:
                self._recover(error)
                continue
            if rows := doubtful_rows(tensors, self._manifest, self._views[0]):
                self._recovery.doubt(rows)
                which = "all files that the scan never decoded" if self._recovery.undecoded_by_pyav else "it"
                named = self._manifest.path(min(rows))
                self._start_again(f"{named}, which the scan never decoded, gave a black frame; PyAV decodes {which}")
                continue
            self._iteration += 1
            account_for(tensors, self.faults, self._chooser)
            if self._augmenter is not None:
                tensors = augmented(tensors, self._augmenter, self._views)
            return to_batch(tensors, self._manifest, self._views, self._device)

    def _recover(self, error: Exception) -> None:
        """Restart the pipeline at the same batch, or raise."""
        hangs = self._watchdog.hangs if self._watchdog else []
        if not self._recovery.should_retry(error, self._iteration, hangs):
            message = self._describe_failure(error)
            self.close()
            raise UnreadableDataError(message) from error
        for hang in hangs:
            reason = f"reading it hung for {hang.seconds:.0f} s; it is skipped from now on"
            self.faults.add(self._manifest.path(hang.row), reason, position=PADDING_POSITION, attempt=0)
        fault = self._watchdog.machine_fault() if self._watchdog else None
        self._start_again(fault or reason_of(error))
        if self._recovery.dali_has_failed and self._rule.choice != "pyav":
            self._rule = replace(self._rule, choice="pyav")
            self._decoders = self._rule.count(self._manifest)
            self._parallelism = self._choose_parallelism()
            self._on_message("DALI has failed at several batches, see above; from now on PyAV decodes all files")

    def _start_again(self, reason: str) -> None:
        batch = self._order.first_batch + self._iteration
        self._on_message(f"the pipeline restarts at batch {batch}: {reason}")
        self._stop()

    def _start(self) -> Any:
        """Start the pipeline at the next batch: its workers and their watchdog."""
        forget(self._notes_folder())
        others = set(multiprocessing.active_children())
        with starting_workers():
            iterator = self._start_dali() if has_dali() else self._start_torch()
        workers = [process for process in multiprocessing.active_children() if process not in others]
        self._watchdog = Watchdog(self._notes_folder(), self._config.loader.hang_seconds, workers)
        return iterator

    def _start_dali(self) -> Any:
        from dali_pipes.loader.dali_graph import start_pipeline

        spec, batch_size = self._graph_spec(), self._order.batch_size
        return start_pipeline(
            self._make_source(spec.fields), spec, self._parallelism, batch_size=batch_size, device=self._device
        )

    def _start_torch(self) -> TorchBatches:
        fields = fields_for(self._decoders_used(), self._views)
        return TorchBatches(
            self._make_source(fields),
            fields,
            batch_size=self._order.batch_size,
            num_workers=self._parallelism.num_workers,
            prefetch=self._config.loader.prefetch,
            pin_memory=self._device.type == "cuda",
        )

    def _graph_spec(self) -> GraphSpec:
        from dali_pipes.loader.dali_graph import GraphSpec

        return GraphSpec(
            views=self._config.views,
            names=self._views,
            num_frames=num_frames_read(self._views, self._config),
            decoders=self._decoders_used(),
            encoded="jpegs" if self._manifest.storage.kind == "frames" else "video",
            rendered=self._render is not None,
            on_gpu=self._rule.device == "cuda",
            prefetch=self._config.loader.prefetch,
        )

    def _notes_folder(self) -> Path:
        """A temporary folder for the workers' notes, and for a manifest that is not saved elsewhere."""
        if self._notes is None:
            self._notes = Path(tempfile.mkdtemp(prefix="loader_", dir=process_folder()))
            self._remove_notes = weakref.finalize(self, shutil.rmtree, self._notes, ignore_errors=True)
            if self._folder is None:
                self._folder = self._notes
                self._manifest.save(self._folder)
        return self._notes

    def _choose_parallelism(self) -> Parallelism:
        """The processes and threads: those of the config, or chosen; in evaluation no more workers than videos."""
        loader, decoders = self._config.loader, self._decoders.files
        by_pyav = sum(count for (way, _), count in decoders.items() if way == "pyav")
        chosen = choose_parallelism(
            cores_of_rank(),
            on_gpu=self._rule.device == "cuda",
            num_engines=self._rule.nvdec.num_engines,
            pyav_share=by_pyav / max(1, sum(decoders.values())),
        )
        workers = chosen.num_workers if loader.num_workers == "auto" else loader.num_workers
        threads = chosen.num_threads if loader.num_threads == "auto" else loader.num_threads
        most = len(self._manifest) if self._order.mode == "eval" else workers
        return Parallelism(max(1, min(workers, most)), threads)

    def _make_source(self, fields: tuple[str, ...]) -> ClipSource:
        loader, notes = self._config.loader, self._notes_folder()
        assert self._folder is not None
        return ClipSource(
            self._folder,
            self._rules,
            self._order,
            ClipReader(self._rule, loader.sparse_decode, self._render, self._cache),
            most_attempts(loader.max_bad_fraction, len(self._manifest)),
            os.getpid(),
            notes,
            first_iteration=self._iteration,
            pyav_batches=self._recovery.pyav_batches,
            pyav_rows=self._recovery.pyav_rows,
            undecoded_by_pyav=self._recovery.undecoded_by_pyav,
            hung_rows=self._recovery.hung_rows,
            fields=fields,
        )

    def _decoders_used(self) -> frozenset[str]:
        host = {"pyav"} if self._recovery.pyav_batches or self._recovery.pyav_rows else set()
        return self._decoders.decoders | host

    def _describe_failure(self, error: Exception) -> str:
        batch = f"reading batch {self._order.first_batch + self._iteration} failed"
        if self._recovery.restarts_too_often(self._iteration):
            batch += ", as others before it"
        if self._watchdog and (fault := self._watchdog.machine_fault()):
            return f"{batch}: {fault}."
        indices = range(self._order.batch_size)
        positions = [self._order.position(self._iteration, index, self._chooser.num_positions) for index in indices]
        files = [self._manifest.path(self._chooser.row_number(position, 0)) for position in positions]
        return (
            f"{batch} (or a later batch, as batches are prefetched): {reason_of(error)}\n"
            f"positions {positions}, files {files}"
        )
