"""Choose where the given lists and files of classes go under the new root."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path


def place_of(source_root: Path, target_root: Path, name: Path) -> Path:
    """The path under the new root of a given file: the same as under the old one, or its name if it lies elsewhere.

    Links below the root are not followed, so that a config finds the new list under the name of the old one.
    """
    given, root = (Path(os.path.abspath(path)) for path in (source_root / name, source_root))  # noqa: PTH100
    by_other_name = given.parent.resolve() / given.name  # the root itself may have several names
    for file, folder in ((given, root), (by_other_name, root.resolve())):
        if file.is_relative_to(folder):
            return target_root / file.relative_to(folder)
    return target_root / given.name


def check_places(source_root: Path, target_root: Path, lists: Sequence[Path], classes: Sequence[Path]) -> None:
    """Refuse lists and files of classes that would replace a given file or each other.

    A file of classes that lies at its new place already is no fault, as it is copied unchanged.

    Raises:
        ValueError: a given file would be replaced, or two would get one place.
    """
    given = [source_root / name for name in (*lists, *classes)]
    takers: dict[Path, tuple[Path, bool]] = {}
    for number, file in enumerate(given):
        is_list = number < len(lists)
        place = place_of(source_root, target_root, file)
        replaced = [other for other in given if place.exists() and place.samefile(other)]
        if replaced and (is_list or not place.samefile(file)):
            raise ValueError(
                f"expected lists that stay as they are, found that one, {replaced[0]}, would be replaced by the new "
                f"{file.name}; move it out of {target_root}, or choose another folder for the new files."
            )
        other, is_other_list = takers.setdefault(place, (file, is_list))
        if is_other_list != is_list or not other.samefile(file):
            raise ValueError(
                f"expected files that get different names, found that {other} and {file} would both become {place}; "
                "rename one, or move it below the old root."
            )
