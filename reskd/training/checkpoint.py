"""Checkpoints: written atomically, with everything that resume, export and predict need.

Note [No generator state]
Order, crops and flips are functions of the clip's position, and torch's generators are reseeded at every step from
(seed, step, rank). So a checkpoint holds no random state, and any number of processes can resume a run.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from dali_pipes.atomic_files import atomic_open
from reskd.models.weights.files import why_unread
from reskd.models.weights.torch_digest import find_damage, save_with_digest

log = logging.getLogger(__name__)

SCHEMA_VERSION = 1


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` atomically, with a digest: ``path`` is always the old file or the new one, even if power fails.

    Raises:
        DiskFullError: there is no room; the old file stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_open(path, needed_bytes=_num_bytes(state)) as file:
        save_with_digest({"schema_version": SCHEMA_VERSION, **state}, file)


def _num_bytes(tree: Any) -> int:
    """Bytes of all tensors."""
    if isinstance(tree, torch.Tensor):
        return tree.nbytes
    return sum(map(_num_bytes, tree.values())) if isinstance(tree, Mapping) else 0


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The state saved at ``path``, on the CPU. Only tensors and plain values are unpickled.

    Raises:
        FileNotFoundError, ValueError: no such file; damaged, not one of our checkpoints, or of another schema version.
    """
    if not path.is_file():
        raise FileNotFoundError(f"expected a checkpoint at {path}, found no such file.")
    damage = find_damage(path, checks_members=True)
    if damage is not None:
        raise ValueError(
            f"{path}: expected the checkpoint as it was written, found one that {damage}; copy it again from where it "
            "is whole, or use another one, such as best.pt."
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(
            f"expected a checkpoint at {path}, found a file that {why_unread(error)}; "
            "use a checkpoint written by reskd train."
        ) from None
    found = state.get("schema_version") if isinstance(state, dict) else None
    if found != SCHEMA_VERSION:
        raise ValueError(
            f"expected a checkpoint of schema version {SCHEMA_VERSION} at {path}, found {found!r}; "
            "use a checkpoint written by reskd train of this version."
        )
    return state


def check_resumable(state: Mapping[str, Any], mine: Mapping[str, Any], *, world_size: int) -> None:
    """Raises ValueError when ``state`` comes from other clips, another teacher or other start weights than ``mine``."""
    for key in ("manifest_hash", "teacher_hash", "start_hashes", "class_names", "global_batch_size"):
        if state.get(key) != mine.get(key):
            raise ValueError(
                f"the checkpoint's {key} is {state.get(key)!r}, this run's is {mine.get(key)!r}; expected the same. "
                "The data, the teacher or the initial weights have changed: start over with --overwrite, or under "
                "another name=...."
            )
    if state["world_size"] != world_size:
        log.info(
            "resuming with %d processes a run of %d: each step has the same clips, but results are not bit-identical",
            world_size,
            state["world_size"],
        )
