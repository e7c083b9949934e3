"""Read from the first bytes of a packet, without decoding: can decoding start here, does another picture refer to it.

Sources: H.264 7.3.1 and 7.4.1 (ITU-T H.264), HEVC 7.3.1.2 and table 7-1 (ITU-T H.265), MPEG-4 Visual 6.2
(ISO/IEC 14496-2), VP8 9.1 (RFC 6386), the VP9 and AV1 bitstream specifications 6.2 and 5.9.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

from dali_pipes.packets.nal_units import Split, annex_b, header_settings, is_444, is_b_slice, sei_problem, splitter

# Flags of a packet. START: this picture and later ones refer to nothing earlier. OPEN_START: the same, except for
# LEADING pictures, which follow it in the stream, precede it in presentation order and refer to earlier pictures; as
# read from a packet, LEADING means that the picture may be one. DISPOSABLE: no other picture refers to this one.
# REORDERED: may be presented before a picture that was coded earlier.
START, OPEN_START, LEADING, DISPOSABLE, REORDERED = 1, 2, 4, 8, 32


PACKED = "packed: two pictures in one packet"


@dataclass(frozen=True)
class PictureKind:
    """The properties of a picture that matter to other pictures.

    Args:
        flags: flags as above.
        layer: temporal layer (HEVC); only pictures of the highest layer are disposable.
        settings: parameter sets or headers before the picture, on which later pictures depend.
        problem: why packets may be needed that no flag indicates; else empty.
    """

    flags: int = 0
    layer: int = 0
    settings: tuple[bytes, ...] = ()
    problem: str = ""


@lru_cache(maxsize=64)
def _plain(flags: int) -> PictureKind:
    """Cached: making them would take a quarter of an index-only scan's time."""
    return PictureKind(flags)


_PLAIN = PictureKind()
_START = PictureKind(START)


def picture_reader(codec: str, extradata: bytes) -> Callable[[bytes], PictureKind] | None:
    """Return the function that reads packets of this codec, or None if there is none.

    Args:
        codec: FFmpeg's name, such as "h264".
        extradata: extradata of the stream; it defines the layout of H.264 and HEVC packets.
    """
    if codec in ("h264", "hevc"):
        split = splitter(codec, extradata)
        if codec == "hevc":
            return partial(_hevc, split)
        return partial(_h264, split, any(is_444(unit) for unit in header_settings(codec, extradata)))
    return {"mpeg4": _mpeg4, "vp8": _vp8, "vp9": _vp9, "av1": _av1, "mjpeg": _mjpeg}.get(codec)


_MPEG4_PICTURE = b"\0\0\1\xb6"
COUNTED_CODECS = frozenset(("mpeg4", "vp8", "vp9"))  # those for which ``count_pictures`` is not always 1


def count_pictures(codec: str, packet: bytes) -> int:
    """Number of pictures that a packet is meant to show; 0 if it stands for a dropped frame or a hidden picture.

    An MPEG-4 packet may hold two pictures. One that is not coded ends after its header, of which up to 5 bytes follow
    its start code; DivX writes one byte of stuffing instead. In VP8 and VP9, pictures that others refer to may have
    packets of their own.

    Args:
        packet: a packet that is not empty.
    """
    if codec == "mpeg4":
        last = packet.rfind(_MPEG4_PICTURE)  # half the time of find
        if last < 0:
            return int(len(packet) > 8 or bool(packet.strip(b"\x7f\0")))
        first = packet.find(_MPEG4_PICTURE, 0, last)
        return int(len(packet) - last > 9) + int(first >= 0 and last - first > 9)
    if codec == "vp8":
        return packet[0] >> 4 & 1
    if codec == "vp9":
        several = packet[-1] & 0xE0 == 0xC0  # a superframe, of which one picture is shown
        return int(several or packet[0] & 0xF0 == 0xB0 or packet[0] & 0x0A != 0)
    return 1


_UNREADABLE = PictureKind(problem="its pictures cannot be found in its packets")


def _h264(split: Split, profile_444: bool, packet: bytes) -> PictureKind:
    settings: tuple[bytes, ...] = ()
    flags: int | None = None
    problem = ""
    for start, end in split(packet):
        header = packet[start]
        kind = header & 31
        if kind in (1, 2, 5):
            if flags is None:
                flags = START if kind == 5 else DISPOSABLE
            if header & 0x60:  # nal_ref_idc, of any slice or field
                flags &= ~DISPOSABLE
            flags |= REORDERED if is_b_slice(packet[start + 1 : start + 9]) else 0
        elif kind in (7, 8, 13, 15):
            settings += (packet[start:end].rstrip(b"\0"),)
            profile_444 = profile_444 or is_444(settings[-1])
        elif kind == 6:
            problem = problem or sei_problem(packet[start + 1 : end], profile_444=profile_444)
    if flags is None:
        return _UNREADABLE
    return PictureKind(flags, 0, settings, problem) if settings or problem else _plain(flags)


def _hevc(split: Split, packet: bytes) -> PictureKind:
    settings: tuple[bytes, ...] = ()
    picture: tuple[int, int] | None = None
    problem = ""
    for start, end in split(packet):
        kind = packet[start] >> 1 & 63
        if 32 <= kind <= 34:
            settings += (packet[start:end].rstrip(b"\0"),)
        elif kind == 39:
            problem = problem or sei_problem(packet[start + 2 : end], profile_444=False)
        elif kind < 32 and picture is None:
            flags = START if kind in (19, 20) else OPEN_START if kind == 21 else 0 if 16 <= kind < 24 else REORDERED
            if 6 <= kind <= 9:
                flags |= LEADING
            if kind < 15 and kind % 2 == 0:
                flags |= DISPOSABLE
            picture = flags, (packet[start + 1] & 7) - 1 if start + 1 < end else 0
    return _UNREADABLE if picture is None else PictureKind(*picture, settings, problem)


def _mpeg4(packet: bytes) -> PictureKind:
    settings: tuple[bytes, ...] = ()
    flags: int | None = None
    for start, end in annex_b(packet):
        code = packet[start]
        if code == 0xB6 and start + 1 < end:
            if flags is not None:
                return PictureKind(problem=PACKED)
            flags = (OPEN_START, 0, DISPOSABLE | REORDERED | LEADING, 0)[packet[start + 1] >> 6]
        elif code != 0xB3:  # a group's header contains the time of day
            settings += (packet[start:end].rstrip(b"\0"),)
    return _UNREADABLE if flags is None else PictureKind(flags, 0, settings)


def _vp8(packet: bytes) -> PictureKind:
    return _START if packet and not packet[0] & 1 and not _keeps_segments(packet[10:14]) else _PLAIN


def _keeps_segments(partition: bytes) -> bool:
    """Whether a key frame uses the segments of earlier frames: four flags in the bool code, RFC 6386 9.3."""
    value, width = int.from_bytes(partition.ljust(4, b"\0"), "big"), 255
    flags = []
    for _ in range(4):  # color space, clamping, segmentation_enabled, update_mb_segmentation_map
        split = 1 + (width - 1) // 2
        flags.append(value >= split << 24)
        value, width = (value - (split << 24), width - split) if flags[-1] else (value, split)
        while width < 128:
            value, width = value << 1, width << 1
    return flags[2] and not flags[3]


def _vp9(packet: bytes) -> PictureKind:
    """START for a key frame, unless it shows an existing frame; in profiles 0 to 2 the first byte tells both."""
    header = packet[0] if packet else 0
    return _START if header & 0xC0 == 0x80 and header & 0x30 != 0x30 and not header & 0x0C else _PLAIN


def _av1(packet: bytes) -> PictureKind:
    """START for a shown key frame after a sequence header."""
    offset, settings = 0, False
    while offset < len(packet):
        header = packet[offset]
        kind, extended, has_size = header >> 3 & 15, header >> 2 & 1, header >> 1 & 1
        offset += 1 + extended
        size, shift = 0, 0
        while has_size and offset < len(packet):
            size |= (packet[offset] & 127) << shift
            shift += 7
            offset += 1
            if not packet[offset - 1] & 128:
                break
        settings |= kind == 1
        if kind in (3, 6) and offset < len(packet):
            # show_existing_frame 0, frame_type 00, show_frame 1
            return _START if settings and packet[offset] >> 4 == 1 else _PLAIN
        offset += size if has_size else len(packet)
    return _PLAIN


def _mjpeg(packet: bytes) -> PictureKind:
    """FFmpeg takes a picture's missing tables from the previous one; without any Huffman tables, the standard ones."""
    offset, tables = packet.find(b"\xff\xd8") + 2, set()
    while 2 <= offset < len(packet) - 4 and packet[offset] == 0xFF and packet[offset + 1] != 0xDA:
        tables.add(packet[offset + 1])
        offset += 1 if packet[offset + 1] == 0xFF else 2 + int.from_bytes(packet[offset + 2 : offset + 4], "big")
    if packet[offset : offset + 2] != b"\xff\xda" or 0xDB not in tables:
        return PictureKind(problem="a picture has no tables of its own")
    return _START if 0xC4 in tables else PictureKind(START, 0, (b"the usual Huffman tables",))
