"""Loggers of the user's: they get every line of metrics.jsonl, beside TensorBoard.

A logger is an object with ``scalars(step, values)`` and, if it has something to end, ``close()``. Its function is
called on rank 0, as ``build(folder=..., settings=..., **arguments)``, when the training begins or goes on. Metrics are
on the disk before a logger sees them. So one that fails is named once, gets nothing more, and does not end the run.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from reskd.extensions.config import MadeByCode
from reskd.extensions.locate import make, reason_of

log = logging.getLogger(__name__)


class Logger(Protocol):
    """What the function returns."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """The metrics of a logged step, by name: "loss/total", "val/top1", ..."""


class Loggers:
    """The loggers of a run, by their names in the config.

    Args:
        folder: of the run.
        settings: of the experiment, as plain values.

    Raises:
        ValueError: a function is missing or fails, or its object has no ``scalars``.
    """

    def __init__(self, wanted: Mapping[str, MadeByCode], *, folder: Path, settings: Mapping[str, Any]) -> None:
        self._open: dict[str, Any] = {}
        for name, one in wanted.items():
            key = f"loggers.{name}"
            made = make(
                one.build, "logger", key=f"{key}.build", arguments=one.arguments, folder=folder, settings=dict(settings)
            )
            if not callable(getattr(made, "scalars", None)):
                raise ValueError(
                    f"{key}.build: expected an object with scalars(step, values), found {type(made).__name__}; "
                    "docs/extending.md shows one."
                )
            self._open[name] = made

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Give every logger the metrics of a step."""
        for name in list(self._open):
            self._attempt(name, lambda one: one.scalars(step, dict(values)))

    def close(self) -> None:
        """End every logger that has ``close``."""
        for name in list(self._open):
            self._attempt(name, lambda one: getattr(one, "close", lambda: None)())
        self._open = {}

    def _attempt(self, name: str, call: Any) -> None:
        try:
            call(self._open[name])
        except Exception as error:
            del self._open[name]
            log.warning("loggers.%s failed and gets nothing more: %s", name, reason_of(error))
