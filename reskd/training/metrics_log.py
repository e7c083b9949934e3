"""Metrics of a run: means kept on the device, the time spent waiting, and the files they are written to."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import torch
from torch import Tensor

from dali_pipes.atomic_files import append_whole, atomic_write_text
from dali_pipes.batch import ClipBatch, View
from dali_pipes.json_files import parse_json
from dali_pipes.regular_files import file_is_there
from reskd.distributed import World, gather_rows, mean_over_ranks
from reskd.extensions.loggers import Loggers
from reskd.training.board.labeled_clips import Caption, picture_of
from reskd.training.tensorboard_log import Board

log = logging.getLogger(__name__)

T = TypeVar("T")


class RunningMeans:
    """Sums of 0-d tensors by name, on their device; only ``peek`` and ``pop`` wait for the device.

    A name may be missing in some updates; its mean is over those that have it.
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        self._count = 0

    def update(self, values: Mapping[str, Tensor]) -> None:
        for name, value in values.items():
            value = value.detach().double() if value.device.type == "cpu" else value.detach().float()
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._counts[name] = self._counts.get(name, 0) + 1
        self._count += 1

    def peek(self, world: World) -> dict[str, float]:
        """The means since the last ``pop``, over updates and ranks."""
        names = sorted(self._sums)
        sums = mean_over_ranks(torch.stack([self._sums[name] for name in names]), world).tolist()
        return {name: value / self._counts[name] for name, value in zip(names, sums, strict=True)}

    def pop(self, world: World) -> tuple[dict[str, float], int]:
        """``peek``, and the number of updates of one rank; then resets."""
        means = self.peek(world)
        count, self._sums, self._counts, self._count = self._count, {}, {}, 0
        return means, count

    def saved(self, world: World) -> dict[str, Any] | None:
        """The sums of all ranks since the last ``pop``, as plain values and tensors; None if there are none."""
        if not self._sums:
            return None
        sums = torch.stack(list(self._sums.values()))
        rows = gather_rows(sums[None], world).cpu()
        return {"names": list(self._sums), "sums": rows, "counts": dict(self._counts), "count": self._count}

    @classmethod
    def restored(cls, saved: Mapping[str, Any] | None, world: World) -> RunningMeans:
        """This rank's share of what ``saved`` returned; among another number of ranks, the mean of all."""
        means = cls()
        if saved is not None:
            sums = saved["sums"].to(world.device)
            own = sums[world.rank] if len(sums) == world.size else sums.mean(0)
            means._sums = dict(zip(saved["names"], own, strict=True))
            means._count = saved["count"]
            means._counts = saved.get("counts", dict.fromkeys(saved["names"], means._count))
        return means


def accuracies(logits_NK: Tensor, batch: ClipBatch) -> dict[str, Tensor]:
    """Top-1 and top-5; empty for several labels per video, as in ``classification_metrics``."""
    if batch.label_sets_NK is not None:
        return {}
    top5_NR = logits_NK.topk(min(5, logits_NK.shape[1])).indices
    hits_NR = (top5_NR == batch.labels_N[:, None]).float()
    return {"train/top1": hits_NR[:, 0].mean(), "train/top5": hits_NR.sum(1).mean()}


class MetricsWriter:
    """Writes ``metrics.jsonl`` and TensorBoard events from one call. Only rank 0 creates one.

    Each line is written at once, into a new file if the old one was deleted.

    Args:
        jsonl: one object per line, each with ``step``; when resuming, lines after ``first_step`` are dropped.
        tensorboard: folder of the events.
        open_loggers: opens those of the user's, which are closed with this.
        first_step: the step at which the run starts or resumes.
        settings: of the experiment, nested, for TensorBoard's table of hyperparameters.
    """

    def __init__(
        self,
        jsonl: Path,
        tensorboard: Path,
        open_loggers: Callable[[], Loggers] | None = None,
        *,
        first_step: int,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        _drop_lines_from(jsonl, first_step)
        self._jsonl = jsonl
        self._board = Board(tensorboard, first_step=first_step, settings=settings)
        self._loggers = open_loggers() if open_loggers else None

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Raises DiskFullError if there is no room for the line."""
        append_whole(self._jsonl, (json.dumps({"step": step, **values}) + "\n").encode())
        self._board.scalars(step, values)
        if self._loggers is not None:
            self._loggers.scalars(step, values)

    def views(self, step: int, batch: ClipBatch) -> None:
        """The first clip's views, frame beside frame; feature views are skipped."""
        for name, view in batch.views.items():
            if isinstance(view, View):
                self._board.images(step, f"view/{name}", view.data_NTHWC[0].cpu())

    def labeled_clips(self, step: int, batch: ClipBatch, captions: Sequence[Caption]) -> None:
        """The first clips with their captions; feature views are skipped."""
        picture_HWC = picture_of(batch, captions)
        if picture_HWC is not None:
            self._board.picture(step, "clips/labels_and_answers", picture_HWC)

    def __enter__(self) -> MetricsWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._board.close(is_done=kind is None)
        if self._loggers is not None:
            self._loggers.close()


def _drop_lines_from(jsonl: Path, first_step: int) -> None:
    """Drop the lines that a run killed after its last checkpoint will write again when resumed."""
    if not file_is_there(jsonl, "the metrics of the run", advice="remove it"):
        return
    lines = jsonl.read_text(encoding="utf-8", errors="replace").split("\n")
    values = [parse_line(line) for line in lines]
    num_damaged = values[:-1].count(None)  # without the last one, which is empty, or which a killed run cut
    if num_damaged:
        log.warning("%s: %d of %d lines are damaged and left out", jsonl, num_damaged, len(lines) - 1)
    kept = [f"{line}\n" for line, one in zip(lines, values, strict=True) if one and one["step"] <= first_step]
    atomic_write_text(jsonl, "".join(kept))


def parse_line(line: str) -> dict[str, float] | None:
    """The values of a line of metrics.jsonl.

    None if it is damaged: the last one of a killed run may be cut, others are of a damaged disk.
    """
    if "\ufffd" in line:  # stands for bytes that are not UTF-8
        return None
    try:
        values = parse_json(line)
    except ValueError:
        return None
    if not isinstance(values, dict) or type(values.get("step")) is not int:
        return None
    return values if all(type(value) in (int, float) for value in values.values()) else None


def describe_step(values: Mapping[str, float]) -> str:
    """The metrics of a logged step as one line: losses, accuracy, share of the time waiting for data."""
    shown = [f"{name.split('/')[1]} {value:.3f}" for name, value in values.items() if name.startswith("loss/")]
    shown += [f"top1 {values['train/top1']:.3f}"] if "train/top1" in values else []
    validated = next((key for key in ("val/top1", "val/gap", "val/map") if key in values), None)
    shown += [f"{validated.replace('/', ' ')} {values[validated]:.3f}"] if validated else []
    shown.append(f"waiting {values['speed/data_wait_share']:.0%}")
    return "  ".join(shown)


def describe_rate(values: Mapping[str, float]) -> str:
    """The speed of a logged step."""
    return f"{values['speed/clips_per_second']:.1f} clips/s"
