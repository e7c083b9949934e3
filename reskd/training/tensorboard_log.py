"""TensorBoard's events of a run. They repeat metrics.jsonl, so a failed write ends them and not the run."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from dali_pipes.file_names import on_one_line

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

log = logging.getLogger(__name__)

# The tab "Custom scalars": what to look at first. Title of a chart -> regular expressions of its curves.
LAYOUT = {
    "A run": {
        "loss": ["Multiline", ["loss/.*"]],
        "accuracy": ["Multiline", ["train/top1", "val/.*", "val_teacher/.*"]],
        "learning rate": ["Multiline", ["train/lr"]],
        "clips a second": ["Multiline", ["speed/clips_per_second"]],
        "milliseconds of a step, by phase": ["Multiline", ["speed/.*_ms"]],
        "shares of the time: waiting for data, GPU and its decoder busy": ["Multiline", ["speed/.*(_share|_busy)"]],
        "GiB on the GPU": ["Multiline", ["speed/gpu_.*_gib"]],
    },
    "Teacher and student": {
        "gradients of the terms": ["Multiline", ["grad_norm/.*"]],
        "cosines between them": ["Multiline", ["grad_cosine/.*"]],
        "feature maps": ["Multiline", ["feature_map/.*"]],
    },
}


class Board:
    """Writes events into a folder. The first failed write is logged, and nothing is written after it.

    Note [TensorBoard's thread]
    TensorBoard writes in a thread, which keeps its error for the next call and also raises it, where Python would print
    a traceback. While a board is open, an OSError of a thread of tensorboard's is left to the next call.

    Args:
        first_step: the step at which the run starts or resumes; later events of an earlier run are hidden.
    """

    def __init__(self, folder: Path, *, first_step: int) -> None:
        self._folder = folder
        self._writer: SummaryWriter | None = None
        self._hook_before = threading.excepthook
        threading.excepthook = self._hook
        self._attempt(first_step, lambda: self._open(first_step))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        def write() -> None:
            for name, value in values.items():
                if self._writer is not None:
                    self._writer.add_scalar(name, value, step)

        self._attempt(step, write)

    def images(self, step: int, name: str, images_NHWC: Tensor) -> None:
        """``images_NHWC``: uint8, on the CPU."""
        if self._writer is not None:
            writer = self._writer
            self._attempt(step, lambda: writer.add_images(name, images_NHWC, step, dataformats="NHWC"))

    def close(self) -> None:
        if self._writer is not None:
            self._attempt(None, self._writer.close)
        self._writer = None
        threading.excepthook = self._hook_before

    def _open(self, first_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(self._folder), purge_step=first_step + 1)
        self._writer.add_custom_scalars(LAYOUT)

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
