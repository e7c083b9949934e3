"""Sound videos that a count of packets, frames or header entries misjudges: packed pictures, dropped frames, hidden
pictures, recordings cut from a stream, wrong headers. Each is made from a recipe of ``streams``."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
from av.bitstream import BitStreamFilterContext

from tests.dali_pipes.streams import RECIPES, make

_DIVX_PACKED = b"\0\0\x01\xb2DivX503b1393p"  # user data by which decoders know packed pictures
NOT_CODED = b"\0\0\x01\xb6\x50\x40"  # an MPEG-4 picture (P) with vop_coded 0, as XviD writes for a packed one
DROPPED = b"\x7f"  # a packet of stuffing in place of a picture, as DivX writes


class Raw(NamedTuple):
    """A packet of a new file: its bytes, decoding and presentation times in frames."""

    data: bytes
    dts: int
    pts: int
    is_key: bool


def packets_of(path: Path) -> list[Raw]:
    """The non-empty packets of a video at 25 frames/s, with times in frames from the first dts on."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        found = [packet for packet in container.demux(stream) if packet.size]
        frame = Fraction(1, 25) / stream.time_base
        raw = []
        for number, packet in enumerate(found):
            pts = number if packet.pts is None else round(packet.pts / frame)
            raw.append(Raw(bytes(packet), number, pts, packet.is_keyframe))
    first = min(packet.pts for packet in raw)
    return [packet._replace(pts=packet.pts - first + 2) for packet in raw]


def write(path: Path, template: Path, packets: Sequence[Raw], *, header: bytes | None = None, **options: str) -> Path:
    """Write packets as a new video with the codec settings of ``template``."""
    with av.open(str(template)) as source, av.open(str(path), "w", options=options) as target:
        stream = target.add_stream_from_template(source.streams.video[0], opaque=True)
        if header is not None:
            stream.codec_context.extradata = header
        stream.time_base = Fraction(1, 25)
        for raw in packets:
            packet = av.Packet(raw.data)
            packet.stream, packet.time_base = stream, Fraction(1, 25)
            packet.dts, packet.pts, packet.is_keyframe = raw.dts, raw.pts, raw.is_key
            target.mux(packet)
    return path


def packed(folder: Path, placeholder: bytes) -> Path:
    """An AVI with packed B-pictures: P and B in one packet, then a placeholder for the B."""
    source = make(RECIPES["mpeg4 avi b"]._replace(options={"qscale": "8", "g": "12", "bf": "1"}), folder, "source")
    coded = packets_of(source)
    kinds = [packet.data[packet.data.index(b"\0\0\x01\xb6") + 4] >> 6 for packet in coded]  # 0 I, 1 P, 2 B
    data: list[bytes] = []
    number = 0
    while number < len(coded):
        has_b = number + 1 < len(coded) and kinds[number + 1] == 2
        data.append(coded[number].data + (coded[number + 1].data if has_b else b""))
        data += [placeholder] if has_b else []
        number += 1 + has_b
    start = data[0].index(b"\0\0\x01\xb6")
    data[0] = data[0][:start] + _DIVX_PACKED + data[0][start:]
    return write(folder / "packed.avi", source, [Raw(one, n, n, coded[n].is_key) for n, one in enumerate(data)])


def with_drops(folder: Path, name: str, dropped: bytes) -> Path:
    """An AVI in which every seventh packet is a dropped frame: an empty chunk, or ``dropped``."""
    source = make(RECIPES[name], folder, "source")
    packets, time = [], 0
    for number, packet in enumerate(packets_of(source)):
        packets.append(packet._replace(dts=time, pts=time))
        time += 1
        if number % 7 == 6:
            if dropped:
                packets.append(Raw(dropped, time, time, False))
            time += 1  # the AVI muxer fills a missing time with an empty chunk
    return write(folder / "drops.avi", source, packets)


def cut_start(folder: Path, name: str, first: int, suffix: str = "") -> Path:
    """A recording cut from a stream: its packets from ``first`` on."""
    source = make(RECIPES[name], folder, "source")
    packets = packets_of(source)[first:]
    least = min(packet.pts for packet in packets)
    moved = [packet._replace(dts=n, pts=packet.pts - least + 2) for n, packet in enumerate(packets)]
    return write(folder / f"cut{suffix or source.suffix}", source, moved)


def with_hidden_packets(folder: Path, name: str) -> Path:
    """A VP9 video whose hidden pictures have packets of their own, not one with the next picture."""
    source = make(RECIPES[name], folder, "source")
    with av.open(str(source)) as container:
        stream = container.streams.video[0]
        split = BitStreamFilterContext("vp9_superframe_split", stream)
        packets = []
        for number, packet in enumerate(one for one in container.demux(stream) if one.size):
            packets += [Raw(bytes(part), 4 * number, 4 * number, packet.is_keyframe) for part in split.filter(packet)]
    spread = [packet._replace(dts=n, pts=n) for n, packet in enumerate(packets)]
    return write(folder / "hidden.mkv", source, spread)


def patched(path: Path, box: bytes, offset: int, change: Callable[[int], int]) -> Path:
    """Change the 32-bit number at ``offset`` from a box's or chunk's name; little-endian for AVI."""
    data = bytearray(path.read_bytes())
    form = "<I" if path.suffix == ".avi" else ">I"
    at = data.index(box) + offset
    struct.pack_into(form, data, at, change(*struct.unpack_from(form, data, at)))
    path.write_bytes(data)
    return path


class _Bits:
    """Bits of an H.264 NAL unit."""

    def __init__(self) -> None:
        self.text = ""

    def fixed(self, number: int, num_bits: int) -> _Bits:
        self.text += f"{number:0{num_bits}b}" if num_bits else ""
        return self

    def golomb(self, *numbers: int) -> _Bits:
        for number in numbers:
            coded = f"{number + 1:b}"
            self.text += "0" * (len(coded) - 1) + coded
        return self

    def unit(self, header: int) -> bytes:
        text = self.text + "1"
        body = int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8), "big")
        escaped = bytearray()
        for byte in body:
            if byte <= 3 and escaped[-2:] == b"\0\0":
                escaped.append(3)
            escaped.append(byte)
        return b"\0\0\0\1" + bytes([header]) + bytes(escaped)


def field_pairs(folder: Path, num_frames: int = 12) -> Path:
    """A transport stream of H.264 field pictures (ITU-T H.264 7.3): two packets a frame, each field one I_PCM block."""
    sps = _Bits().fixed(77, 8).fixed(0, 8).fixed(30, 8).golomb(0, 0, 2, 1).fixed(0, 1).golomb(0, 0)
    sps.fixed(0, 1).fixed(0, 1).fixed(1, 1).fixed(0, 1).fixed(0, 1)  # not only frames, not MBAFF, 8x8 direct
    pps = _Bits().golomb(0, 0).fixed(0, 2).golomb(0, 0, 0).fixed(0, 3).golomb(0, 0, 0).fixed(0, 3)
    fields = []
    for number in range(2 * num_frames):
        is_idr = number == 0
        field = _Bits().golomb(0, 7, 0).fixed(number // 2 % 16, 4).fixed(1, 1).fixed(number % 2, 1)
        field.golomb(*([0] if is_idr else [])).fixed(0, 2 if is_idr else 1).golomb(0, 25)
        field.text = field.text.ljust(-(-len(field.text) // 8) * 8, "0")  # the block's samples begin at a byte
        for value in [16 + 9 * number % 200] * 256 + [128] * 128:
            field.fixed(value, 8)
        settings = sps.unit(0x67) + pps.unit(0x68) if number % 8 == 0 else b""
        fields.append(b"\0\0\0\1\x09\x10" + settings + field.unit(0x65 if is_idr else 0x61))
    raw = folder / "fields.h264"
    raw.write_bytes(b"".join(fields))
    pairs = [Raw(b"".join(fields[n : n + 2]), n // 2, n // 2, n % 8 == 0) for n in range(0, len(fields), 2)]
    return write(folder / "fields.ts", raw, pairs)
