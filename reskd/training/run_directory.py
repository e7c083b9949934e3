"""One folder per run: what it holds, and when an old one may be resumed.

A folder holds ``config.yaml``, ``environment.json``, ``last.pt``, ``best.pt``, ``metrics.jsonl``, TensorBoard's events
and, at the end, ``report.md``. A folder with another experiment is changed only under --overwrite.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dali_pipes.atomic_files import atomic_write_text
from reskd.yaml_reading import read_yaml_file, write_yaml

# Settings of a run's speed, output and test; none changes what it computes.
_FREE_TO_CHANGE = (
    "runs",
    "data.scan_cache",
    "data.allow_shared_videos",
    "data.sampling.test_clips",
    "data.sampling.test_crops",
    "data.loader.num_workers",
    "data.loader.num_threads",
    "data.loader.prefetch",
    "data.loader.max_attempts",  # of earlier versions
    "data.loader.max_bad_fraction",
    "data.loader.sparse_decode",
    "data.loader.hang_seconds",
    "training.log_every_steps",
    "training.checkpoint_every_steps",
)


@dataclass(frozen=True)
class RunDirectory:
    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def environment(self) -> Path:
        return self.path / "environment.json"

    @property
    def splits(self) -> Path:
        return self.path / "splits.csv"

    @property
    def last(self) -> Path:
        return self.path / "last.pt"

    @property
    def best(self) -> Path:
        return self.path / "best.pt"

    def kept(self, epoch: int) -> Path:
        """The checkpoint kept after an epoch, counted from 1."""
        return self.path / f"epoch_{epoch:03d}.pt"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def loss_balance(self) -> Path:
        return self.path / "loss_balance.json"

    def quarantine(self, split: Literal["train", "val", "test"], rank: int) -> Path:
        """The rank's own list of clips that could not be loaded; one file per rank, so lines do not mix."""
        stem = "quarantine" if split == "train" else f"quarantine_{split}"
        return self.path / (f"{stem}.csv" if rank == 0 else f"{stem}-rank{rank}.csv")

    def training_quarantines(self) -> list[Path]:
        """The training lists that exist, of all ranks that the run ever had."""
        return [*self.path.glob("quarantine.csv"), *self.path.glob("quarantine-rank*.csv")]

    @property
    def tensorboard(self) -> Path:
        return self.path / "tensorboard"


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """``{"a": {"b": 1}}`` -> ``("a.b", 1)``."""
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def defining_settings(resolved: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that determine a run's result, flat."""
    return {key: value for key, value in flatten(resolved) if key not in _FREE_TO_CHANGE}


def with_former_settings(saved: Mapping[str, Any]) -> dict[str, Any]:
    """The whole config of a run, with the settings that the version which saved it did not have yet.

    Crops were of stored pixels before ``data.pixel_aspect``.
    """
    data = saved.get("data")
    if not isinstance(data, Mapping) or data.get("kind") != "clips" or "pixel_aspect" in data:
        return dict(saved)
    return {**saved, "data": {**data, "pixel_aspect": "stored"}}


def config_hash(resolved: Mapping[str, Any]) -> str:
    """sha256 of the settings that determine the result; 16 hexadecimal digits."""
    text = json.dumps(defining_settings(resolved), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def check_same_experiment(resolved: Mapping[str, Any], other: Mapping[str, Any], where: Path) -> None:
    """Raises ValueError with the settings that differ, when the two are not the same experiment."""
    new, old = defining_settings(resolved), defining_settings(with_former_settings(other))
    missing = object()
    differing = sorted(key for key in new | old if new.get(key, missing) != old.get(key, missing))
    if differing:
        listed = ", ".join(f"{key}: {old.get(key)!r} there, {new.get(key)!r} now" for key in differing[:4])
        raise ValueError(
            f"{where} holds another experiment ({len(differing)} settings differ: {listed}); "
            "choose another name=..., or pass --overwrite to delete what is there."
        )


def open_run_directory(
    path: Path, resolved: Mapping[str, Any], *, resume: str, overwrite: bool
) -> tuple[RunDirectory, Path | None]:
    """Check that the folder may be written, and find the checkpoint to resume. Writes and deletes nothing.

    Args:
        path: the run's folder.
        resolved: the whole config as plain values.
        resume: ``auto`` resumes ``last.pt`` if there is one, ``none`` starts over, else a checkpoint's path.
        overwrite: ``write_description`` will delete an earlier run, so any of our runs may be there.

    Raises:
        ValueError, FileNotFoundError: the folder holds another experiment or a started run; nothing to resume.
    """
    run = RunDirectory(path)
    if resume not in ("auto", "none") and not Path(resume).is_file():
        raise FileNotFoundError(f"--resume: expected auto, none or a checkpoint, found no file {resume}.")
    if path.exists() and not path.is_dir():
        raise ValueError(f"expected a folder for the run at {path}, found a file.")
    if path.exists() and any(path.iterdir()) and not run.config.exists():
        raise ValueError(f"{path} is not empty and not a run's folder; choose another name=... or runs=....")
    if run.config.exists() and not overwrite:
        check_same_experiment(resolved, _saved_settings(run.config), path)
        if resume == "none" and run.last.exists():
            raise ValueError(
                f"{path} holds a started run; pass --resume auto to continue it, or --overwrite to delete it."
            )
    if resume not in ("auto", "none"):
        return run, Path(resume)
    resumes = resume == "auto" and not overwrite and run.last.exists()
    return run, run.last if resumes else None


def _saved_settings(path: Path) -> dict[str, Any]:
    """Raises ValueError if the file is damaged."""
    advice = "It is damaged; train under another name=..., or with --overwrite."
    try:
        saved = read_yaml_file(path).value
    except ValueError as error:
        raise ValueError(f"{error} {advice}") from None
    if not isinstance(saved, dict):
        raise ValueError(f"{path}: expected the settings of a run, found {type(saved).__name__}. {advice}")
    return saved


def write_description(
    run: RunDirectory, resolved: Mapping[str, Any], environment: Mapping[str, Any], *, overwrite: bool
) -> None:
    """Write ``config.yaml`` and ``environment.json``; with ``overwrite`` the folder is emptied first."""
    if overwrite and run.config.exists():
        shutil.rmtree(run.path)
    run.path.mkdir(parents=True, exist_ok=True)
    atomic_write_text(run.environment, json.dumps(environment, indent=2) + "\n")
    atomic_write_text(run.config, write_yaml(resolved))
