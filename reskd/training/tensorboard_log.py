"""TensorBoard's events of a run. They repeat metrics.jsonl, so a failed write ends them and not the run."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from dali_pipes.file_names import on_one_line
from reskd.training.board.hyperparameters import run_begins, run_is_done
from reskd.training.board.layout import layout_of

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

log = logging.getLogger(__name__)


class Board:
    """Writes events into a folder. The first failed write is logged, and nothing is written after it.

    Note [TensorBoard's thread]
    TensorBoard writes in a thread, which keeps its error for the next call and also raises it, where Python would print
    a traceback. While a board is open, an OSError of a thread of tensorboard's is left to the next call.

    Args:
        first_step: the step at which the run starts or resumes; later events of an earlier run are hidden.
        settings: of the experiment, nested, for the table of hyperparameters; empty: the run is not in it.
    """

    def __init__(self, folder: Path, *, first_step: int, settings: Mapping[str, Any] | None = None) -> None:
        self._folder, self._settings = folder, settings or {}
        self._names: set[str] = set()
        self._layout: dict[str, Any] = {}
        self._writer: SummaryWriter | None = None
        self._hook_before = threading.excepthook
        threading.excepthook = self._hook
        self._attempt(first_step, lambda: self._open(first_step))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        def write() -> None:
            for name, value in values.items():
                if self._writer is not None:
                    self._writer.add_scalar(name, value, step)
            self._lay_out(values)

        self._attempt(step, write)

    def images(self, step: int, name: str, images_NHWC: Tensor) -> None:
        """``images_NHWC``: uint8, on the CPU."""
        if self._writer is not None:
            writer = self._writer
            self._attempt(step, lambda: writer.add_images(name, images_NHWC, step, dataformats="NHWC"))

    def picture(self, step: int, name: str, pixels_HWC: np.ndarray) -> None:
        """``pixels_HWC``: uint8."""
        if self._writer is not None:
            writer = self._writer
            self._attempt(step, lambda: writer.add_image(name, pixels_HWC, step, dataformats="HWC"))

    def close(self, *, is_done: bool = False) -> None:
        """``is_done``: the run reached its end."""
        if self._writer is not None:
            self._attempt(None, lambda: self._end(is_done=is_done))
        self._writer = None
        threading.excepthook = self._hook_before

    def _open(self, first_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(self._folder), purge_step=first_step + 1)
        if self._settings:
            self._describe(run_begins(self._settings))

    def _end(self, *, is_done: bool) -> None:
        assert self._writer is not None
        if is_done and self._settings:
            self._describe([run_is_done()])
        self._writer.close()

    def _describe(self, summaries: Iterable[Any]) -> None:
        assert self._writer is not None and self._writer.file_writer is not None
        for summary in summaries:
            self._writer.file_writer.add_summary(summary)

    def _lay_out(self, names: Iterable[str]) -> None:
        """Write the charts of the curves so far, when a new curve brings a new chart."""
        if self._writer is None or self._names.issuperset(names):
            return
        self._names.update(names)
        layout = layout_of(self._names)
        if layout != self._layout:
            self._layout = layout
            self._writer.add_custom_scalars(layout)

    def _attempt(self, step: int | None, write: Callable[[], None]) -> None:
        try:
            write()
        except (OSError, UnicodeError) as error:  # UnicodeError: TensorBoard takes no path that is not UTF-8
            when = "at their end" if step is None else f"at step {step}"
            log.warning(
                "%s: TensorBoard's events stop %s (%s); metrics.jsonl goes on.", on_one_line(self._folder), when, error
            )
            writer, self._writer = self._writer, None
            with contextlib.suppress(OSError):
                if writer is not None:
                    writer.close()

    def _hook(self, arguments: threading.ExceptHookArgs) -> None:
        """See Note [TensorBoard's thread]."""
        is_tensorboards = type(arguments.thread).__module__.startswith("tensorboard.")
        if not (is_tensorboards and isinstance(arguments.exc_value, OSError)):
            self._hook_before(arguments)
