"""Read headers of JPEG files, and decode them with PyAV.

Sources: ITU-T T.81 annex B (markers), Exif 2.3 section 4.6 (orientation). The header is read before every decode,
because decoders silently make a gray or stretched picture of a truncated file.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from dali_pipes.decode.pyav import Window, packet_of

_START, _END = b"\xff\xd8", b"\xff\xd9"
_PNG = b"\x89PNG"
_ALONE = frozenset((0x01, *range(0xD0, 0xD8)))  # markers without contents
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SERVED = {0xC0, 0xC1, 0xC2}  # Huffman-coded: baseline, extended, progressive
_SCAN, _APP1, _ORIENTATION = 0xDA, 0xE1, 0x0112


class JpegHeader(NamedTuple):
    """Size in pixels, as stored."""

    width: int
    height: int


class BadJpegError(ValueError):
    """A file that is not a JPEG, is truncated, or is of an unsupported kind."""


def read_header(data: bytes) -> JpegHeader:
    """Read the picture's size, and check that the file is complete and supported.

    Raises:
        BadJpegError: the file is empty, not a JPEG, truncated, neither gray nor of three colors, or needs rotation.
    """
    if not data:
        raise BadJpegError("it is empty")
    if not data.startswith(_START):
        found = "a PNG" if data.startswith(_PNG) else f"a file that begins with {data[:4].hex()}"
        raise BadJpegError(f"expected a JPEG, found {found}")
    size: JpegHeader | None = None
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            raise BadJpegError(f"there is no marker at byte {at}")
        kind = data[at + 1]
        if kind == 0xFF or kind in _ALONE:  # a fill byte, or a marker of two bytes
            at += 1 if kind == 0xFF else 2
            continue
        content = data[at + 4 : at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")]
        if kind in _FRAMES:
            size = _read_frame(kind, content)
        elif kind == _APP1:
            _check_orientation(content)
        elif kind == _SCAN:
            if size is None or data.rfind(_END) < at:
                break
            return size
        at += 4 + len(content)
    raise BadJpegError("it is truncated: its end mark is missing")


def _read_frame(kind: int, content: bytes) -> JpegHeader:
    if kind not in _SERVED or len(content) < 6:
        raise BadJpegError(f"its coding (marker ff{kind:02x}) is none of baseline, extended and progressive")
    bits, height, width, num_colors = struct.unpack(">BHHB", content[:6])
    if bits != 8 or num_colors not in (1, 3) or not height or not width:
        raise BadJpegError(f"expected a gray or color picture of 8 bits, found {num_colors} colors of {bits} bits")
    return JpegHeader(width, height)


def _check_orientation(content: bytes) -> None:
    """Refuse an EXIF orientation: video frames have none, and a photograph with one would be decoded rotated."""
    if not content.startswith(b"Exif\0\0") or len(content) < 14:
        return
    exif = content[6:]
    order = "<" if exif.startswith(b"II") else ">"
    (first,) = struct.unpack_from(f"{order}I", exif, 4)
    if first + 2 > len(exif):
        return
    (num_entries,) = struct.unpack_from(f"{order}H", exif, first)
    for entry in range(first + 2, min(first + 2 + 12 * num_entries, len(exif) - 11), 12):
        tag, _, _, value = struct.unpack_from(f"{order}HHIH", exif, entry)
        if tag == _ORIENTATION and value != 1:
            raise BadJpegError(
                f"its EXIF orientation is {value}: expected upright pictures; rotate and save them again"
            )


class JpegDecoder:
    """Decodes files one by one, in one thread."""

    def __init__(self) -> None:
        context = av.codec.CodecContext.create("mjpeg", "r")
        assert isinstance(context, VideoCodecContext)
        context.thread_type, context.thread_count = "NONE", 1
        context.options = {"err_detect": "explode"}
        self._context = context

    def decode(self, data: bytes) -> VideoFrame:
        """Decode one file.

        Raises:
            BadJpegError: it does not decode completely.
        """
        try:
            frames = self._context.decode(packet_of(data))
        except av.error.FFmpegError as error:
            raise BadJpegError(f"it does not decode: {error.strerror}") from error
        if len(frames) != 1 or frames[0].is_corrupt:
            raise BadJpegError("the decoder concealed errors in it")
        return frames[0]


def decode_jpegs(files: Sequence[bytes], window: Window) -> list[np.ndarray]:
    """Decode and crop T files, one picture each: T arrays of uint8 RGB (crop height, crop width, 3).

    Raises:
        BadJpegError: a file does not decode.
    """
    decoder = JpegDecoder()
    return [window.cut(decoder.decode(file)) for file in files]
