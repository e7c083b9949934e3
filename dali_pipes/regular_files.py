"""Tell files from what else may have their names: opening a pipe would wait for ever."""

from __future__ import annotations

import stat
from pathlib import Path


def file_is_there(path: Path, expected: str, *, advice: str) -> bool:
    """Whether ``path`` is a file, or a link to one; False if nothing has this name.

    Args:
        expected: what the file is, for an error, such as "the metrics of a run".
        advice: what to do if it is something else.

    Raises:
        ValueError: a folder, a pipe, a device or a link to nothing has this name.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if not path.is_symlink():
            if isinstance(error, FileNotFoundError | NotADirectoryError):
                return False
            raise
        found = "a link to nothing"
    else:
        if stat.S_ISREG(mode):
            return True
        found = "a folder" if stat.S_ISDIR(mode) else "a pipe, socket or device"
    raise ValueError(f"{path}: expected {expected}, found {found}; {advice}.")


def check_kept_files(folder: Path) -> None:
    """Raises ValueError if anything but files and folders lies in a folder of kept results."""
    for path in sorted(folder.rglob("*")):
        if not path.is_file() and not path.is_dir():
            raise ValueError(f"expected files, found something else at {path.relative_to(folder)}")
