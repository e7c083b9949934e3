"""The control groups of Linux, versions 2 and 1, that limit this process: those of a container or a job."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_ROOT = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")


def folders_of_groups(controller: str) -> Iterator[Path]:
    """The folders of this process's groups and of those around them, which limit it too. They may be missing.

    Args:
        controller: of version 1, such as "memory"; all groups of version 2 are in one tree.
    """
    text = _OWN_GROUPS.read_text() if _OWN_GROUPS.is_file() else ""
    paths = {_ROOT: "", _ROOT / controller: ""}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            paths[_ROOT] = path
        elif controller in controllers.split(","):
            paths[_ROOT / controller] = path
    for root, path in paths.items():
        own = PurePosixPath(path.lstrip("/"))
        yield from (root / folder for folder in (own, *own.parents))
