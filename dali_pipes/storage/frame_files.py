"""The frames of a video as JPEG files in a folder, numbered by a template such as "img_{:05d}.jpg"."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from dali_pipes.decode.jpeg import BadJpegError, JpegHeader, read_header
from dali_pipes.storage_spec import split_template


def numbers_in(folder: Path, template: str) -> dict[int, int]:
    """Number -> size in bytes of the files in a folder that match the template.

    Raises:
        OSError: the folder cannot be read.
    """
    before, after = split_template(template)
    found = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            digits = entry.name[len(before) : len(entry.name) - len(after)]
            # Compare with the template's own output, as img_1.jpg does not match img_{:05d}.jpg.
            if digits.isascii() and digits.isdigit() and entry.name == template.format(int(digits)):
                found[int(digits)] = entry.stat().st_size
    return found


def read_frame_files(folder: Path, template: str, numbers: Sequence[int], *, width: int, height: int) -> list[bytes]:
    """Read the files of these numbers; each is opened once.

    Raises:
        ValueError: a file is damaged or not ``width`` x ``height`` pixels; names it.
        OSError: a file cannot be read; names it.
    """
    files = {number: _read(folder / template.format(number), JpegHeader(width, height)) for number in set(numbers)}
    return [files[number] for number in numbers]


def _read(path: Path, expected: JpegHeader) -> bytes:
    try:
        data = path.read_bytes()
        found = read_header(data)
    except (BadJpegError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise type(error)(f"{path.name}: {reason}") from error
    if found != expected:
        raise ValueError(
            f"{path.name}: expected {expected.width}x{expected.height} pixels, found {found.width}x{found.height}"
        )
    return data
