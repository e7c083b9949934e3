"""What a coded picture means to the others, read from the first bytes of its packet: can decoding start here, does
anything refer to it. Nothing is decoded.

Sources: H.264 7.3.1 and 7.4.1 (ITU-T H.264), HEVC 7.3.1.2 and table 7-1 (ITU-T H.265), MPEG-4 Visual 6.2
(ISO/IEC 14496-2), VP8 9.1 (RFC 6386), the VP9 and AV1 bitstream specifications 6.2 and 5.9.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

# Flags of a packet. START: nothing from here on refers to what came before. OPEN_START: the same, but for LEADING
# pictures, which follow it in the stream, precede it on the screen and refer to what came before it. DISPOSABLE: no
# other picture refers to this one.
START, OPEN_START, LEADING, DISPOSABLE = 1, 2, 4, 8


@dataclass(frozen=True)
class PictureKind:
    """``flags`` as above; ``layer`` is the temporal layer (HEVC), and a picture is disposable only if it lies in the
    highest; ``settings`` are the parameter sets or headers before the picture, which later pictures depend on."""

    flags: int = 0
    layer: int = 0
    settings: tuple[bytes, ...] = ()


_PLAIN = PictureKind()
_START = PictureKind(START)
_DISPOSABLE = PictureKind(DISPOSABLE)


def picture_reader(codec: str, extradata: bytes) -> Callable[[bytes], PictureKind] | None:
    """The function that reads packets of this codec, or None where we have none.

    Args:
        codec: FFmpeg's name, such as "h264".
        extradata: of the stream; tells how H.264 and HEVC packets are laid out.
    """
    if codec in ("h264", "hevc"):
        split = _nal_splitter(codec, extradata)
        return partial(_h264 if codec == "h264" else _hevc, split)
    return {"mpeg4": _mpeg4, "vp8": _vp8, "vp9": _vp9, "av1": _av1, "mjpeg": _mjpeg}.get(codec)


def _nal_splitter(codec: str, extradata: bytes) -> Callable[[bytes], Iterator[tuple[int, int]]]:
    """Annex B where the extradata is empty or begins with a start code; else lengths before units, ISO/IEC 14496-15."""
    place = 4 if codec == "h264" else 21
    if len(extradata) <= place or extradata.startswith((b"\0\0\1", b"\0\0\0\1")):
        return _annex_b
    return partial(_with_lengths, (extradata[place] & 3) + 1)


def _with_lengths(length_size: int, packet: bytes) -> Iterator[tuple[int, int]]:
    """(start, end) of each unit of a packet."""
    end = 0
    while end + length_size < len(packet):
        start = end + length_size
        end = start + int.from_bytes(packet[end:start], "big")
        if start < end <= len(packet):
            yield start, end


def _annex_b(packet: bytes) -> Iterator[tuple[int, int]]:
    start = packet.find(b"\0\0\1") + 3
    while start >= 3:
        following = packet.find(b"\0\0\1", start)
        end = len(packet) if following < 0 else following
        if start < end:
            yield start, end
        start = following + 3


def _h264(split: Callable[[bytes], Iterator[tuple[int, int]]], packet: bytes) -> PictureKind:
    settings: tuple[bytes, ...] = ()
    disposable = False
    for start, end in split(packet):
        header = packet[start]
        kind = header & 31
        if kind == 5:
            return PictureKind(START, 0, settings) if settings else _START
        if kind in (1, 2):
            if header & 0x60:  # nal_ref_idc
                return PictureKind(0, 0, settings) if settings else _PLAIN
            disposable = True  # unless another slice or field of the packet says otherwise
        elif kind in (7, 8, 13, 15):
            settings += (packet[start:end].rstrip(b"\0"),)
    return PictureKind(DISPOSABLE if disposable else 0, 0, settings)


def _hevc(split: Callable[[bytes], Iterator[tuple[int, int]]], packet: bytes) -> PictureKind:
    settings: tuple[bytes, ...] = ()
    for start, end in split(packet):
        kind = packet[start] >> 1 & 63
        if 32 <= kind <= 34:
            settings += (packet[start:end].rstrip(b"\0"),)
        if kind < 32:
            flags = START if kind in (19, 20) else OPEN_START if kind == 21 else 0
            if kind in (8, 9):
                flags |= LEADING
            if kind < 15 and kind % 2 == 0:
                flags |= DISPOSABLE
            layer = (packet[start + 1] & 7) - 1 if start + 1 < end else 0
            return PictureKind(flags, layer, settings)
    return PictureKind(0, 0, settings)


def _mpeg4(packet: bytes) -> PictureKind:
    settings: tuple[bytes, ...] = ()
    for start, end in _annex_b(packet):
        code = packet[start]
        if code == 0xB6 and start + 1 < end:
            coding_type = packet[start + 1] >> 6
            return PictureKind((OPEN_START, 0, DISPOSABLE, 0)[coding_type], 0, settings)
        if code != 0xB3:  # a group's header holds the time of day
            settings += (packet[start:end],)
    return PictureKind(0, 0, settings)


def _vp8(packet: bytes) -> PictureKind:
    return _START if packet and not packet[0] & 1 else _PLAIN


def _vp9(packet: bytes) -> PictureKind:
    """A key frame that is not an existing one shown again; profiles 0 to 2 have both bits in the first byte."""
    header = packet[0] if packet else 0
    return _START if header & 0xC0 == 0x80 and header & 0x30 != 0x30 and not header & 0x0C else _PLAIN


def _av1(packet: bytes) -> PictureKind:
    """A shown key frame behind a sequence header."""
    place, settings = 0, False
    while place < len(packet):
        header = packet[place]
        kind, extended, has_size = header >> 3 & 15, header >> 2 & 1, header >> 1 & 1
        place += 1 + extended
        size, shift = 0, 0
        while has_size and place < len(packet):
            size |= (packet[place] & 127) << shift
            shift += 7
            place += 1
            if not packet[place - 1] & 128:
                break
        settings |= kind == 1
        if kind in (3, 6) and place < len(packet):
            # show_existing_frame 0, frame_type 00, show_frame 1
            return _START if settings and packet[place] >> 4 == 1 else _PLAIN
        place += size if has_size else len(packet)
    return _PLAIN


def _mjpeg(packet: bytes) -> PictureKind:
    return _START
