"""Timing of a model against its input size: what is run, how often, and what the rows say."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from reskd.models.config import TsnConfig
from reskd.models.families.registry import build_recognizer
from reskd.profiling import throughput
from reskd.profiling.throughput import Sweep, measure_clips_per_second, measure_sizes
from reskd.training.precision import Precision

CPU = Precision("fp32", torch.device("cpu"))


class _Watched(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[int, ...]] = []

    def forward(self, frames_NTHWC: Tensor) -> Tensor:
        assert not self.training
        assert not torch.is_grad_enabled()
        self.calls.append(tuple(frames_NTHWC.shape))
        return frames_NTHWC.float().mean()


def test_sizes_take_turns_in_an_order_that_shifts() -> None:
    model = _Watched()
    rows = measure_sizes(model, Sweep([(1, 8, 8), (1, 4, 6)], ["eager"], [3, 1]), CPU, views=2, rounds=4)
    timed = model.calls[4 * throughput._WARMUP :]
    assert len(timed) == 4 * 4
    rounds = [timed[start : start + 4] for start in range(0, 16, 4)]
    assert all(sorted(one) == sorted(rounds[0]) for one in rounds)
    assert len({one[0] for one in rounds}) == 4
    assert [(row.batch, row.height, row.width) for row in rows] == [(3, 8, 8), (3, 4, 6), (1, 8, 8), (1, 4, 6)]
    for row in rows:
        assert row.videos_per_second == pytest.approx(row.batch * 1e3 / row.median_ms / 2)
        assert row.p20_ms <= row.median_ms <= row.p80_ms
        assert (row.rounds, row.precision) == (4, "fp32")
    assert [row.times_largest for row in rows if row.height == 8] == [1, 1]
    assert rows[1].times_largest == pytest.approx(rows[0].median_ms / rows[1].median_ms)


def test_an_exported_program_is_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_recognizer(TsnConfig(backbone="resnet18"), 3)
    frames_NTHWC = torch.randint(0, 256, (2, 1, 32, 48, 3), dtype=torch.uint8)
    run = throughput._runnable(model.eval(), "export", frames_NTHWC)
    monkeypatch.setattr(model, "forward", None)
    with torch.no_grad():
        found = run(frames_NTHWC)
    monkeypatch.undo()
    with torch.no_grad():
        torch.testing.assert_close(found.logits_NK, model(frames_NTHWC).logits_NK)  # type: ignore[attr-defined]
    (row,) = measure_sizes(model, Sweep([(1, 32, 32)], ["export"], [1]), CPU, rounds=1)
    assert row.mode == "export"


def test_compiling_many_sizes_never_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[tuple[int, ...]] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> object:
        compiled.append(tuple(next(tensor.shape for tensor in inputs if tensor.dtype == torch.uint8)))
        return graph.forward

    compile_for_real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda *args, **options: compile_for_real(*args, backend=backend, **options))
    shapes = [(1, side, side) for side in range(64, 42, -2)]
    measure_sizes(_Counted(), Sweep(shapes, ["compile"], [2, 1]), CPU, rounds=1)
    assert len(set(compiled)) == len(compiled) == 2 * len(shapes)
    assert torch._dynamo.config.cache_size_limit == 8


class _Counted(nn.Module):
    def forward(self, frames_NTHWC: Tensor) -> Tensor:
        return frames_NTHWC.float().mean()


def test_a_batch_too_large_is_one_sentence() -> None:
    class _Full(nn.Module):
        def forward(self, frames_NTHWC: Tensor) -> Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(ValueError, match="found 64 clips of 2x8x8 that do not; choose a smaller --batch"):
        measure_sizes(_Full(), Sweep([(2, 8, 8)], ["eager"], [64]), CPU)


def test_clips_per_second_counts_clips() -> None:
    model = _Watched()
    assert measure_clips_per_second(model, (1, 4, 4), CPU, batch_size=5) > 0
    assert set(model.calls) == {(5, 1, 4, 4, 3)}
