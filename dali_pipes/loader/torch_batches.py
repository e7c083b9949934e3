"""The loader's batches from torch's DataLoader, where DALI is not installed: a served student needs no DALI.

The workers decode by PyAV and render on the CPU, as they do for DALI on a CPU, so the pixels are the same. Batches are
slower than DALI's where they are large: a worker makes a whole batch, and copies it twice.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from dali_pipes.loader.sample import OUTPUTS


@dataclass
class SampleIndex:
    """What the workers' callback asks of DALI's SampleInfo."""

    iteration: int
    idx_in_batch: int


class TorchBatches:
    """Batches without end, as ``dali_graph.PipelineBatches`` gives them: the views as uint8 FHWC, and ``OUTPUTS``.

    Args:
        source: called in the workers with a ``SampleIndex``; returns arrays in the order of ``fields``.
        fields: names of the ``sample.FIELDS`` that ``source`` returns; rendered views end in ``_THWC``.
        prefetch: number of batches that are made ahead, at least one by each worker.
        pin_memory: for a GPU, whose copies then need not wait.
    """

    def __init__(
        self,
        source: Callable[[SampleIndex], Sequence[np.ndarray]],
        fields: Sequence[str],
        *,
        batch_size: int,
        num_workers: int,
        prefetch: int,
        pin_memory: bool = False,
    ) -> None:
        self._names = [name if name in OUTPUTS else name.removesuffix("_THWC") for name in fields]
        self._batches: Any = iter(
            DataLoader(
                _Samples(source),
                batch_sampler=_Endless(batch_size),
                num_workers=num_workers,
                prefetch_factor=math.ceil(prefetch / num_workers),
                collate_fn=_stack,
                pin_memory=pin_memory,
                multiprocessing_context="spawn",
                generator=torch.Generator(),  # of its own, as the workers' seeds are drawn: exact resume
            )
        )

    def __next__(self) -> dict[str, Tensor]:
        try:
            arrays = next(self._batches)
        except Exception:
            # torch's handler of SIGCHLD raises for a dead worker wherever the program is, perhaps after the error that
            # its closed pipe gave. Without workers it is silent, so that a restart is not interrupted.
            with contextlib.suppress(RuntimeError):
                self._batches._shutdown_workers()
            raise
        return dict(zip(self._names, arrays, strict=True))


class _Samples(Dataset[Any]):
    def __init__(self, source: Callable[[SampleIndex], Sequence[np.ndarray]]) -> None:
        self._source = source

    def __getitem__(self, index: SampleIndex) -> Sequence[np.ndarray]:
        return self._source(index)


class _Endless(Sampler[list[SampleIndex]]):
    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size

    def __iter__(self) -> Iterator[list[SampleIndex]]:
        for iteration in itertools.count():
            yield [SampleIndex(iteration, index) for index in range(self._batch_size)]


def _stack(samples: Sequence[Sequence[np.ndarray]]) -> list[Tensor]:
    return [torch.from_numpy(np.stack(arrays)) for arrays in zip(*samples, strict=True)]
