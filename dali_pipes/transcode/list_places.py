"""Choose where the given lists and files of classes go under the new root."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def place_of(source_root: Path, target_root: Path, name: Path) -> Path:
    """The path under the new root of a given file: the same as under the old one, or its name if it lies elsewhere."""
    given = source_root / name
    inside = given.resolve().is_relative_to(source_root.resolve())
    return target_root / (given.resolve().relative_to(source_root.resolve()) if inside else given.name)


def check_places(source_root: Path, target_root: Path, lists: Sequence[Path], classes: Sequence[Path]) -> None:
    """Refuse lists and files of classes that would replace a given file.

    A file of classes that lies at its new place already is no fault, as it is copied unchanged.

    Raises:
        ValueError: a given file would be replaced.
    """
    given = [source_root / name for name in (*lists, *classes)]
    for number, file in enumerate(given):
        place = place_of(source_root, target_root, file)
        replaced = [other for other in given if place.exists() and place.samefile(other)]
        if replaced and (number < len(lists) or not place.samefile(file)):
            raise ValueError(
                f"expected lists that stay as they are, found that one, {replaced[0]}, would be replaced by the new "
                f"{file.name}; move it out of {target_root}, or choose another folder for the new files."
            )
