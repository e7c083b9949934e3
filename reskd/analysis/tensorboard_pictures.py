"""Adds a picture to the TensorBoard of a run that has been trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from reskd.training.checkpoint import load_checkpoint
from reskd.training.run_directory import RunDirectory


def check_has_steps(folder: Path) -> None:
    """Raises FileNotFoundError if ``folder`` is no run with a last.pt."""
    if not RunDirectory(folder).last.is_file():
        raise FileNotFoundError(
            f"--tensorboard {folder}: expected the folder of a trained run, found no last.pt in it; check the path."
        )


def add_picture(folder: Path, name: str, picture: Path) -> None:
    """Write ``picture`` at the run's last step, as analysis/NAME, in a file of events of its own.

    Raises:
        FileNotFoundError, ValueError: the run has no last.pt; TensorBoard cannot write there.
    """
    from PIL import Image
    from torch.utils.tensorboard import SummaryWriter

    run = RunDirectory(folder)
    step = int(load_checkpoint(run.last).get("num_steps", 0))
    with Image.open(picture) as image:
        pixels_HWC = np.asarray(image.convert("RGB"))
    try:
        # Without purge_step, which would hide what a run that goes on has logged since.
        with SummaryWriter(str(run.tensorboard), filename_suffix=".analysis") as writer:
            writer.add_image(f"analysis/{name}", pixels_HWC, step, dataformats="HWC")
    except UnicodeError as error:
        raise ValueError(
            f"{folder}: expected a path that TensorBoard takes, found one that is not UTF-8 ({error}); rename it, or "
            "leave --tensorboard out."
        ) from None
