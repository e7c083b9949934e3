from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from reskd.distributed import World
from reskd.faults import sentence_of
from reskd.training import dry_run
from reskd.training.dry_run import choose_clips_per_pass, noise_batch


def test_noise_has_the_shapes_of_the_views() -> None:
    batch = noise_batch({"teacher": (4, 16, 12), "student": (2, 8, 6)}, 3)
    assert batch.views["teacher"].data_NTHWC.shape == (3, 4, 16, 12, 3)
    assert batch.views["student"].data_NTHWC.shape == (3, 2, 8, 6, 3)


def refuse(num_clips: int) -> None:
    raise AssertionError("a CPU needs no trial")


@pytest.mark.parametrize(("most", "expected"), [(None, 12), (12, 12), (7, 6), (5, 4), (1, 1)])
def test_on_a_cpu_the_share_of_a_rank_or_the_largest_equal_part(most: int | None, expected: int) -> None:
    world = World(0, 2, torch.device("cpu"))
    chosen = choose_clips_per_pass(global_batch_size=24, most=most, world=world, try_pass=refuse)
    assert chosen == expected


GIB = 2**30


class FakeGpu:
    """A GPU of 10 GiB, of which a pass reserves 1 GiB a clip; more than ``most`` clips raise ``error``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, most: int, error: Exception) -> None:
        self.tried: list[int] = []
        self._most, self._error = most, error
        fake = SimpleNamespace(
            empty_cache=lambda: None,
            reset_peak_memory_stats=lambda: None,
            OutOfMemoryError=torch.cuda.OutOfMemoryError,
            current_device=lambda: 0,
            get_device_properties=lambda index: SimpleNamespace(total_memory=10 * GIB),
            max_memory_reserved=lambda: self.tried[-1] * GIB,
        )
        monkeypatch.setattr(dry_run.torch, "cuda", fake)

    def try_pass(self, num_clips: int) -> None:
        self.tried.append(num_clips)
        if num_clips > self._most:
            raise self._error


def _choose(gpu: FakeGpu, **options: Any) -> int:
    world = World(0, 1, torch.device("cuda"))
    return choose_clips_per_pass(global_batch_size=12, most=None, world=world, try_pass=gpu.try_pass, **options)


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("GET was unable to find an engine to execute this computation"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"),
    ],
)
def test_on_a_gpu_fewer_and_fewer_clips_are_tried(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = FakeGpu(monkeypatch, most=3, error=error)
    assert _choose(gpu) == 3 and gpu.tried == [12, 6, 4, 3]
    with pytest.raises(ValueError, match=rf"one clip does not fit the GPU \({re.escape(str(error))}\); make the views"):
        _choose(FakeGpu(monkeypatch, most=0, error=error))


def test_another_error_is_no_lack_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = FakeGpu(monkeypatch, most=0, error=RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        _choose(gpu)


def test_memory_for_decoding_is_left_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 9 usable GiB: 6 clips and 0.5 GiB of decoding for each do, 6 and 0.6 do not."""
    gpu = FakeGpu(monkeypatch, most=12, error=RuntimeError())
    assert _choose(gpu) == 6
    assert _choose(gpu, decoding_bytes=lambda num_clips: num_clips * GIB // 2) == 6
    assert _choose(gpu, decoding_bytes=lambda num_clips: num_clips * GIB * 6 // 10) == 4
    with pytest.raises(ValueError, match=r"\(11.0 GiB, 10.0 of them for decoding, of 10.0\)"):
        _choose(gpu, decoding_bytes=lambda num_clips: num_clips * 10 * GIB)


def test_too_little_memory_on_a_cpu_is_an_error_and_no_kill(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reskd.memory.available_bytes", lambda: 2**30)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    with pytest.raises(RuntimeError) as caught, dry_run.within_memory(World(0, 4, torch.device("cpu"))):
        torch.empty(2**29, dtype=torch.uint8)
    assert "lower training.max_clips_per_pass" in str(sentence_of(caught.value))
    with dry_run.within_memory(World(0, 4, torch.device("cuda"))):
        torch.empty(2**29, dtype=torch.uint8)


def test_a_batch_that_does_not_split_over_ranks_is_refused() -> None:
    world = World(0, 3, torch.device("cpu"))
    with pytest.raises(ValueError, match="global_batch_size = 8: expected a multiple of the 3 processes"):
        choose_clips_per_pass(global_batch_size=8, most=None, world=world, try_pass=refuse)


def test_a_pass_of_mixed_clips_holds_pairs() -> None:
    settings: dict[str, Any] = {"most": None, "multiple_of": 2, "try_pass": lambda num_clips: None}
    world = World(0, 1, torch.device("cpu"))
    assert choose_clips_per_pass(global_batch_size=12, world=world, **(settings | {"most": 5})) == 4
    with pytest.raises(
        ValueError, match=r"global_batch_size = 6: expected a multiple of 2 \(training.mixing\) x 2 proc"
    ):
        choose_clips_per_pass(global_batch_size=6, world=World(0, 2, torch.device("cpu")), **settings)
