"""Settings that were renamed or removed, so that the error for an old name says what to write.

Nothing is translated. The list is kept for this release alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reskd.experiment.config_files import has_key

RENAMED_KEYS = {
    "data.loader.way_in": "data.loader.decoder",
    "loss.code": "loss.embedding",
    "student.normalise_frames": "student.normalize_frames",
    "teacher.model.normalise_frames": "teacher.model.normalize_frames",
}
# Settings without a successor, and what to do instead.
REMOVED_KEYS = {
    "data.loader.max_attempts": "it was removed, as data.loader.max_bad_fraction alone ends a run; delete this line.",
}
# (key, old value) -> new value
RENAMED_VALUES = {
    ("data.loader.decoder", "host"): "pyav",
}


def new_value(key: str, value: Any) -> str | None:
    """The new name of this value of ``key``; None if it was not renamed."""
    return RENAMED_VALUES.get((key, value)) if isinstance(value, str) else None


def check_names_are_current(saved: Mapping[str, Any], resolved: Mapping[str, Any], where: Path | str) -> None:
    """Refuse to resume a run that an earlier version saved.

    Args:
        saved: the whole config of the run, from its folder or a checkpoint.
        resolved: the whole config of the experiment now.

    Raises:
        ValueError: ``saved`` has a setting under its old name, and ``resolved`` has it under the new one.
    """
    names = RENAMED_KEYS.items()
    found = [(old, new) for old, new in names if has_key(saved, old.split(".")) and has_key(resolved, new.split("."))]
    if found:
        renamed = ", ".join(f"{old} was renamed to {new}" for old, new in found)
        raise ValueError(
            f"{where} was written by an earlier version: {renamed}. Use the version that wrote it, or train again "
            "under another name=..., or with --overwrite."
        )
