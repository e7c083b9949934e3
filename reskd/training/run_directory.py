"""One folder per run: what it holds, and when an old one may be resumed.

A folder holds ``config.yaml``, ``environment.json``, ``last.pt``, ``best.pt``, ``metrics.jsonl``, TensorBoard's events
(``events.out.tfevents.*``) and, at the end, ``report.md``; during the training also ``run.lock``, and after --set
``changes.jsonl``. A folder with another experiment is changed only under --overwrite.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dali_pipes.atomic_files import atomic_write_text
from dali_pipes.augmentation_config import AugmentationConfig
from dali_pipes.regular_files import file_is_there
from reskd.losses.config import DEFAULT_AUTO_STEPS
from reskd.models.common_config import KEPT_PARTS
from reskd.runtime.config import RuntimeConfig
from reskd.training.checkpoint import load_checkpoint
from reskd.training.run_changes import Change, changed, flatten, read_changes, why_fixed, write_changes
from reskd.training.run_lock import LOCK_NAME
from reskd.yaml_reading import read_yaml_file, write_yaml

log = logging.getLogger(__name__)

# Settings of a run's speed, output and test; none changes what it computes.
_FREE_TO_CHANGE = (
    "runs",
    "data.scan_cache",
    "data.cache",
    "data.cache_folder",
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
    "training.diagnose_every_steps",
    "training.checkpoint_every_steps",
    "student.activation_checkpointing",
    "teacher.model.activation_checkpointing",
)

_ONLY_WATCH = ("metrics", "loggers")  # a run computes the same with others

# Settings that earlier versions did not have, and the value under which a run computes what it did without them. So
# runs of those versions go on, and the hash of their settings is the same.
_CHANGES_NOTHING = {
    "data.val_pattern": None,
    "data.split_seed": None,
    **{f"data.augmentation.{key}": value for key, value in AugmentationConfig().model_dump().items()},
    "loss.intermediate": None,
    "teacher.precision": "auto",
    "teacher.checkpoint": "last",
    "loss.auto_steps": DEFAULT_AUTO_STEPS,
    "loss.terms": {},
    "loss.label_smoothing": 0.0,
    "loss.class_weights": "none",
    "data.class_sampling": "natural",
    "optimizer.layer_decay": None,
    **{f"training.{recipe}": None for recipe in ("mixing", "ema", "early_stopping")},
    **{f"runtime.{key}": value for key, value in RuntimeConfig().model_dump().items()},
    **{f"{network}.{key}": value for network in ("student", "teacher.model") for key, value in KEPT_PARTS.items()},
}


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
    def changes(self) -> Path:
        """Settings that --set changed, one JSON object a line: step, key, old and new value."""
        return self.path / "changes.jsonl"

    @property
    def loss_balance(self) -> Path:
        return self.path / "loss_balance.json"

    def written_by_training(self) -> list[str]:
        """Names of files that only the training run writes."""
        epochs = [path.name for path in self.path.glob("epoch_*.pt")]
        return ["last.pt", "best.pt", "config.yaml", "environment.json", "metrics.jsonl", "changes.jsonl", *epochs]

    def quarantine(self, split: Literal["train", "val", "test"], rank: int) -> Path:
        """The rank's own list of clips that could not be loaded; one file per rank, so lines do not mix."""
        stem = "quarantine" if split == "train" else f"quarantine_{split}"
        return self.path / (f"{stem}.csv" if rank == 0 else f"{stem}-rank{rank}.csv")

    def training_quarantines(self) -> list[Path]:
        """The training lists that exist, of all ranks that the run ever had."""
        return [*self.path.glob("quarantine.csv"), *self.path.glob("quarantine-rank*.csv")]

    @property
    def tensorboard(self) -> Path:
        """The folder of TensorBoard's events: the run's own, so that TensorBoard shows the run under its name.

        A run of an earlier version goes on in its folder ``tensorboard``.
        """
        earlier = self.path / "tensorboard"
        return earlier if earlier.is_dir() else self.path


def defining_settings(resolved: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that determine a run's result, flat; without later ones that change nothing."""
    return {
        key: value
        for key, value in flatten(resolved)
        if is_defining(key) and not (key in _CHANGES_NOTHING and value == _CHANGES_NOTHING[key])
    }


def is_defining(key: str) -> bool:
    """Whether a setting determines a run's result."""
    return key not in _FREE_TO_CHANGE and key.partition(".")[0] not in _ONLY_WATCH


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
        was, now = _CHANGES_NOTHING | old, _CHANGES_NOTHING | new
        listed = ", ".join(f"{key}: {was.get(key)!r} there, {now.get(key)!r} now" for key in differing[:4])
        way_on = ""
        can_change = all(why_fixed(key, old.get(key), new.get(key)) is None for key in differing)
        if can_change and (where.suffix == ".pt" or (where / "last.pt").exists()):
            settings = " ".join(f"--set {key}={now.get(key)}" for key in differing[:4])
            way_on = f"give them by --set to go on from the last checkpoint (--resume last {settings}), "
        raise ValueError(
            f"{where} holds another experiment ({len(differing)} settings differ: {listed}); "
            f"{way_on}choose another name=..., or pass --overwrite to delete what is there."
        )


def open_run_directory(
    path: Path, resolved: Mapping[str, Any], *, resume: str, overwrite: bool
) -> tuple[RunDirectory, Path | None]:
    """Check that the folder may be written, and find the checkpoint to resume. Writes and deletes nothing.

    Args:
        path: the run's folder.
        resolved: the whole config as plain values.
        resume: ``auto`` resumes ``last.pt`` if there is one, ``last`` expects it, ``none`` starts over, else a
            checkpoint's path.
        overwrite: ``write_description`` will delete an earlier run, so any of our runs may be there.

    Raises:
        ValueError, FileNotFoundError: the folder holds another experiment or a started run; nothing to resume.
    """
    run = RunDirectory(path)
    is_path = resume not in ("auto", "last", "none")
    if is_path and not Path(resume).is_file():
        raise FileNotFoundError(f"--resume: expected auto, last, none or a checkpoint, found no file {resume}.")
    if path.exists() and not path.is_dir():
        raise ValueError(f"expected a folder for the run at {path}, found a file.")
    saved = _saved_config(run, overwrite=overwrite)
    if saved is not None and not overwrite:
        changes = read_changes(run.changes)
        check_same_experiment(changed(resolved, changes), changed(saved, changes), path)
        if resume == "none" and run.last.exists():
            raise ValueError(
                f"{path} holds a started run; pass --resume auto to continue it, or --overwrite to delete it."
            )
    has_last = overwrite or file_is_there(run.last, "the last checkpoint", advice="copy it again, or remove it")
    if resume == "last" and not has_last:
        raise FileNotFoundError(f"--resume last: expected {run.last}, found no such file; leave --resume out.")
    if is_path:
        return run, Path(resume)
    resumes = resume != "none" and not overwrite and has_last
    others = (
        [] if has_last else [one for one in run.written_by_training() if one.endswith(".pt") and (path / one).exists()]
    )
    if others:
        log.warning(
            "%s: expected it beside %s, found none; the run starts over. --resume PATH takes another checkpoint.",
            run.last,
            others[0],
        )
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


def _saved_config(run: RunDirectory, *, overwrite: bool) -> Mapping[str, Any] | None:
    """The settings of the run in the folder; None if there is none.

    Raises:
        ValueError: other files are there, or a checkpoint that is none of ours.
    """
    if run.config.exists():
        return _saved_settings(run.config)
    if run.last.exists() and not overwrite:
        log.warning("%s is missing; the settings in %s take its place.", run.config, run.last.name)
        return load_checkpoint(run.last).get("config", {})
    written_first = {LOCK_NAME, run.changes.name}  # by a start that was killed before it wrote config.yaml
    others = [one.name for one in run.path.iterdir()] if run.path.exists() else []
    others = [name for name in others if name not in written_first and not name.endswith(".tmp")]
    if others:
        raise ValueError(
            f"{run.path} is not empty and not a run's folder: it holds {min(others)}, but no config.yaml; delete it, "
            "or choose another name=... or runs=...."
        )
    return None


def write_description(
    run: RunDirectory,
    resolved: Mapping[str, Any],
    environment: Mapping[str, Any],
    *,
    overwrite: bool,
    changes: Sequence[Change] = (),
) -> None:
    """Write ``config.yaml``, ``environment.json`` and ``changes.jsonl``.

    Args:
        overwrite: empty the folder first, but for its lock.
    """
    if overwrite and run.config.exists():
        for entry in run.path.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry.name != LOCK_NAME:
                entry.unlink()
    run.path.mkdir(parents=True, exist_ok=True)
    write_changes(run.changes, changes)  # first: the settings of before still fit it
    atomic_write_text(run.config, write_yaml(resolved))
    atomic_write_text(run.environment, json.dumps(environment, indent=2) + "\n")
