from __future__ import annotations

import io
import struct

import numpy as np
import pytest

from dali_pipes.decode.jpeg import BadJpegError, JpegDecoder, decode_jpegs, read_header
from dali_pipes.decode.pyav import Window
from tests.conftest import HEIGHT, WIDTH, picture, read_number
from tests.dali_pipes.storage.stored_clips import jpeg

FILE = jpeg(picture(9))


def exif(orientation: int, order: str) -> bytes:
    entry = struct.pack(f"{order}HHIHH", 0x0112, 3, 1, orientation, 0)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8) + struct.pack(f"{order}H", 1)
    content = b"Exif\0\0" + head + entry + bytes(4)
    return FILE[:2] + b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content + FILE[2:]


@pytest.mark.parametrize(
    "file",
    [FILE, jpeg(picture(9), pix_fmt="yuvj444p"), exif(1, "<"), exif(1, ">"), FILE + bytes(16), FILE + b"made by"],
    ids=["420", "444", "upright", "upright, big-endian", "zeros behind", "junk behind"],
)
def test_sound_files_are_read_and_decoded(file: bytes) -> None:
    assert read_header(file) == (WIDTH, HEIGHT)
    (frame,) = np.stack(decode_jpegs([file], Window((0, 0, HEIGHT, WIDTH), 0, WIDTH, HEIGHT)))
    assert read_number(frame) == (9, False)


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (b"", "it is empty"),
        (b"\x89PNG\r\n\x1a\n", "expected a JPEG, found a PNG"),
        (b"hello", "found a file that begins with 68656c6c"),
        (FILE[:-2], "it is truncated: its end mark is missing"),
        (FILE[:300], "it is truncated"),
        (FILE[:2], "it is truncated"),
        (FILE[:2] + b"abcdefgh", "there is no marker at byte 2"),
        (exif(6, "<"), "its EXIF orientation is 6: expected upright pictures"),
        (exif(3, ">"), "its EXIF orientation is 3"),
        (FILE.replace(b"\xff\xc0", b"\xff\xc3"), "none of baseline, extended and progressive"),
    ],
)
def test_what_would_decode_wrongly_is_named(file: bytes, reason: str) -> None:
    with pytest.raises(BadJpegError, match=reason):
        read_header(file)


def test_damaged_pixels_are_not_shown_by_pyav() -> None:
    at = FILE.index(b"\xff\xda") + 40
    garbled = FILE[:at] + bytes(200) + FILE[at + 200 :]
    with pytest.raises(BadJpegError, match="does not decode|concealed errors in it"):
        JpegDecoder().decode(garbled)


def test_random_damage_raises_nothing_else() -> None:
    random = np.random.default_rng(0)
    for _ in range(300):
        file = bytearray(exif(1, "<"))
        for index in random.integers(0, len(file), 2).tolist():
            file[index] = int(random.integers(256))
        try:
            read_header(bytes(file[: random.integers(1, len(file) + 1)]))
            JpegDecoder().decode(bytes(file))
        except BadJpegError:
            pass


def test_the_crop_is_that_of_pillow_within_the_filter_of_colors() -> None:
    """Pillow decodes with libjpeg, as DALI does on a CPU; the two differ in how colors are enlarged."""
    pillow = pytest.importorskip("PIL.Image")
    for pix_fmt, tolerance in (("yuvj420p", 2.5), ("yuvj422p", 2.5), ("yuvj444p", 1.0)):
        file = jpeg(picture(21), pix_fmt=pix_fmt)
        (ours,) = np.stack(decode_jpegs([file], Window((11, 7, 60, 90), 0, WIDTH, HEIGHT)))
        theirs = np.asarray(pillow.open(io.BytesIO(file)).convert("RGB"))[11:71, 7:97]
        assert np.abs(ours.astype(int) - theirs).mean() < tolerance
