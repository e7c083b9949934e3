"""``train_config``: what ``reskd train`` does, from Python."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reskd.api.messages import messages_shown
from reskd.distributed import joined_world
from reskd.environment import require_for_training
from reskd.experiment.stages import load_stages, train_stages


def train_config(
    settings: Mapping[str, Any] | Path | str, *overrides: str, resume: str = "auto", overwrite: bool = False
) -> list[Path]:
    """Train an experiment, with the teacher first where it names one, and write its report.

    A run that was stopped goes on where it was; one that is done is left. Under torchrun every process calls this.
    Messages go to loggers below ``reskd``; in a program that has not set up logging they appear on stderr.

    Args:
        settings: those of a config's file as plain values, or its path; "base" is a path from the working directory.
        overrides: ``"key.sub=value"``, as on the command line.
        resume: "auto"; "last" expects a checkpoint; "none" refuses an earlier run; or the path of a checkpoint.
        overwrite: delete an earlier run of this name first.

    Returns:
        The folder of each stage's run, in order; a single one for a config without stages. ``report.md`` is in it, and
        ``last.pt`` and ``best.pt`` are what ``load_student`` takes.

    Raises:
        FileNotFoundError, ValueError: settings, data or an earlier run that do not fit; one line for each fault.
    """
    require_for_training()
    configs = load_stages(settings, overrides)
    with messages_shown(), joined_world(configs[0].device) as world:
        return [run.path for run in train_stages(configs, world=world, resume=resume, overwrite=overwrite)]
