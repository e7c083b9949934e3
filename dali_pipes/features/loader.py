"""FeatureLoader: batches of videos as features, read by threads from frame-level records.

Note [Threads, not processes]
Reading a video is a system call, a checksum and two copies; the first and the last release Python's lock. The rest
holds it for 0.1 ms per video; to save that, worker processes would transfer 88 MB per batch of 256 videos.

Shape letters: N videos, T frames, D features of a frame.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, SupportsInt

import numpy as np
import torch

from dali_pipes.batch import PADDING_POSITION, ClipBatch, FeatureView, label_sets_of
from dali_pipes.fault_log import NO_LOG, FaultLog, LoaderLog
from dali_pipes.features.buffer_pool import RecycledMemory
from dali_pipes.features.config import FeatureDataConfig
from dali_pipes.features.manifest import FeatureManifest
from dali_pipes.features.source import FeatureSource, RowChooser, VideoFeatures
from dali_pipes.sampling.listed_batches import ListedBatches
from dali_pipes.sampling.order import ReadingOrder, most_attempts
from dali_pipes.sampling.spec import check_view_names


class ViewArrays(NamedTuple):
    """A view's tensors as arrays in the same memory."""

    data_NTD: np.ndarray
    frame_index_NT: np.ndarray
    valid_NT: np.ndarray


@dataclass
class _PendingBatch:
    """A batch while threads fill it; ``done`` has one future per thread."""

    views: dict[str, FeatureView]
    arrays: dict[str, ViewArrays]
    positions: list[int]
    planned_rows: list[int]
    videos: list[VideoFeatures | None]
    done: list[Future[None]]


class FeatureLoader(ListedBatches):
    """Reads videos' features and renders their views; see ``dali_pipes.batch.Loader``.

    Training runs without end from ``first_batch``; a second ``iter`` continues where the first one stopped.
    Evaluation yields one pass per ``iter``, from the first video even if the last pass was not finished.
    Threads start with the first batch.

    Args:
        manifest: the videos.
        config: its groups, max_frames, views and loader settings are used.
        order, views, device: as in ``ClipLoader``.
        log: where faults are reported; ``on_message`` also gets the first video with more than ``max_frames``.

    Raises:
        ValueError: invalid sizes or names.
    """

    def __init__(
        self,
        manifest: FeatureManifest,
        config: FeatureDataConfig,
        *,
        order: ReadingOrder,
        views: Sequence[str],
        device: torch.device | str = "cpu",
        log: LoaderLog = NO_LOG,
    ) -> None:
        check_view_names(views, has_teacher=config.views.teacher is not None)
        order.check(len(manifest))
        super().__init__(manifest, order, tuple(views))
        self._config = config
        self._device = torch.device(device)
        self._manifest = manifest
        self._chooser = RowChooser(order, manifest)
        attempts = most_attempts(config.loader.max_bad_fraction, len(manifest))
        self._source = FeatureSource(manifest, config.groups, config.max_frames, order, attempts)
        kept = config.loader.prefetch + 2  # the prefetched ones, the current and the previous one
        self._memory = {name: RecycledMemory(self._shape(name), most=kept) for name in views}
        self._pool: ThreadPoolExecutor | None = None
        self._pending: deque[_PendingBatch] = deque()
        self._iteration = 0  # of the next batch to start
        self._closed = False
        self._said_cut = False
        self._on_message = log.on_message
        self.faults = FaultLog(log.quarantine, config.loader.max_bad_fraction, log.on_message)

    def path(self, video_id: SupportsInt) -> str:
        """File, byte offset and id of the record with this entry of ``ClipBatch.ids_N``."""
        return self._manifest.name(self._check_row(video_id))

    def describe_reading(self) -> str:
        """One line for the log: number of videos and files."""
        files = len(np.unique(self._manifest.index.rows["file"][self._manifest.members]))
        return f"features: {len(self._manifest)} videos in {files} TFRecord file(s)"

    def __iter__(self) -> Iterator[ClipBatch]:
        if self._order.mode == "train":
            while True:
                yield self._next_batch()
        self._drop_pending()
        self._iteration = 0
        self.faults.start_pass()
        for _ in range(self.num_batches):
            yield self._next_batch()

    def close(self) -> None:
        """End the threads. Batches already yielded stay valid."""
        self._closed = True
        self._drop_pending()
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def __enter__(self) -> FeatureLoader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _next_batch(self) -> ClipBatch:
        if self._closed:
            raise RuntimeError("expected an open loader, found one that was closed or has failed; make a new one.")
        while len(self._pending) <= self._config.loader.prefetch and self._continues():
            self._pending.append(self._start_batch())
        pending = self._pending.popleft()
        try:
            for part in pending.done:
                part.result()
            return self._to_batch(pending)
        except Exception:
            self.close()
            raise

    @property
    def _num_yielded(self) -> int:
        return self._iteration - len(self._pending)

    def _go_to(self, num_yielded: int) -> None:
        self._drop_pending()
        self._iteration = num_yielded

    def _continues(self) -> bool:
        """Whether to start another batch: in training always, in evaluation up to the last of the pass."""
        return self._order.mode == "train" or self._iteration < self.num_batches

    def _start_batch(self) -> _PendingBatch:
        size, num_threads = self._order.batch_size, self._config.loader.num_threads
        if self._pool is None:
            self._pool = ThreadPoolExecutor(num_threads, thread_name_prefix="features")
        positions = [self._order.position(self._iteration, index, len(self._manifest)) for index in range(size)]
        self._iteration += 1
        rows = [self._chooser.row(position) for position in positions]
        views = {name: self._empty_view(name) for name in self._views}
        arrays = {
            name: ViewArrays(view.data_NTD.numpy(), view.frame_index_NT.numpy(), view.valid_NT.numpy())
            for name, view in views.items()
        }
        pending = _PendingBatch(views, arrays, positions, rows, [None] * size, [])
        pending.done = [
            self._pool.submit(self._fill, pending, range(part, size, num_threads)) for part in range(num_threads)
        ]
        return pending

    def _drop_pending(self) -> None:
        for pending in self._pending:
            for part in pending.done:
                part.cancel()
        self._pending.clear()

    def _empty_view(self, name: str) -> FeatureView:
        """Make a view with uninitialized features. For a GPU, memory is pinned and reused by torch itself."""
        size, num_frames, dim = self._shape(name)
        pinned = self._device.type == "cuda"
        features = torch.empty(size, num_frames, dim, dtype=torch.uint8, pin_memory=True) if pinned else None
        return FeatureView(
            self._memory[name].take() if features is None else features,
            torch.zeros(size, num_frames, dtype=torch.int64, pin_memory=pinned),
            torch.zeros(size, num_frames, dtype=torch.bool, pin_memory=pinned),
        )

    def _shape(self, name: str) -> tuple[int, int, int]:
        """(N, T, D) of a view."""
        k = self._config.views.student.num_frames
        num_frames = k if name == "student" and k is not None else self._config.max_frames
        return self._order.batch_size, num_frames, self._config.feature_dim

    def _fill(self, pending: _PendingBatch, indices: Sequence[int]) -> None:
        """Read and render the videos at some indices of a batch; runs in a thread."""
        for index in indices:
            position = pending.positions[index]
            video = self._source.read(position, pending.planned_rows[index])
            for name, arrays in pending.arrays.items():
                write_video(arrays, index, video.groups, self._frame_numbers(name, video, position))
            # Free the record: the fault log needs only a few numbers.
            pending.videos[index] = VideoFeatures(video.row, video.attempt, (), video.num_beyond, video.faults)

    def _frame_numbers(self, name: str, video: VideoFeatures, position: int) -> np.ndarray | None:
        """Indices of the view's frames; None: all of them."""
        student = self._config.views.student
        if name == "teacher" or student.num_frames is None:
            return None
        return self._source.select(student.selection, student.num_frames, video, position)

    def _to_batch(self, pending: _PendingBatch) -> ClipBatch:
        videos = [video for video in pending.videos if video is not None]
        self._account(pending, videos)
        rows_N = torch.tensor([video.row for video in videos])
        label_sets_NK = label_sets_of(self._manifest, rows_N)
        if label_sets_NK is not None and self._device.type == "cuda":
            label_sets_NK = label_sets_NK.pin_memory()
        positions = pending.positions
        if self._order.mode == "eval":
            positions = [at if at < len(self._manifest) else PADDING_POSITION for at in positions]
        return ClipBatch(
            pending.views,
            torch.tensor([int(self._manifest.labels(video.row)[0]) for video in videos]),
            rows_N,
            torch.tensor(positions),
            torch.tensor([video.attempt > 0 for video in videos]),
            label_sets_NK,
        ).to(self._device, non_blocking=True)

    def _account(self, pending: _PendingBatch, videos: Sequence[VideoFeatures]) -> None:
        self.faults.num_served += len(videos)
        for position, planned, video in zip(pending.positions, pending.planned_rows, videos, strict=True):
            self.faults.num_substituted += video.attempt > 0
            for attempt, reason in enumerate(video.faults):
                record = self._manifest.name(self._source.row(position, attempt, planned))
                self.faults.add(record, reason, position=position, attempt=attempt)
            if video.num_beyond and not self._said_cut:
                self._said_cut = True
                self._on_message(self._source.describe_cut(video))
        self.faults.check()


def write_video(view: ViewArrays, index: int, groups: Sequence[np.ndarray], numbers: np.ndarray | None) -> None:
    """Write one video of a view: the frames ``numbers``, then zeros.

    Args:
        groups: uint8 (T, d) each, concatenated in the view's D.
    """
    data_TD = view.data_NTD[index]
    count, start = len(groups[0]) if numbers is None else len(numbers), 0
    for frames_Td in groups:
        stop = start + frames_Td.shape[1]
        data_TD[:count, start:stop] = frames_Td if numbers is None else frames_Td[numbers]
        start = stop
    data_TD[count:] = 0
    view.frame_index_NT[index, :count] = np.arange(count) if numbers is None else numbers
    view.valid_NT[index, :count] = True
