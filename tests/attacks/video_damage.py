"""Kinds of damage to a video's bytes, containers and packets; each takes a random generator and gives a file."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from tests.dali_pipes.damage import DAMAGES
from tests.dali_pipes.unusual import Raw, packets_of, write

Rng = np.random.Generator
# Names of boxes and chunks whose size or number stands beside them.
_SIZED = re.compile(
    rb"moov|mdat|trak|stbl|stsz|stco|stts|ctts|stss|elst|mdhd|mvhd|moof|traf|trun|RIFF|LIST|strh|avih|movi|idx1|00dc"
    rb"|\x1a\x45\xdf\xa3|\x18\x53\x80\x67|\x1f\x43\xb6\x75|\xa3"
)
_LONGEST_REMUXED = 400_000  # bytes; packets of larger files are left alone


class Victim(NamedTuple):
    """A good file, and another whose pieces may get into it."""

    path: Path
    other: Path


def _with_size(victim: Victim, target: Path, rng: Rng) -> None:
    """Change a number within 8 bytes of the name of a box, a chunk or an element."""
    data = bytearray(victim.path.read_bytes())
    places = [match.start() for match in _SIZED.finditer(data)] or [0]
    at = max(0, int(rng.choice(places)) + int(rng.choice([-4, -3, -1, 4, 4, 5, 7, 8])))
    data[at : at + 4] = struct.pack(">I", int(rng.choice([0, 1, 7, 255, 4096, 1 << 20, 1 << 31, (1 << 32) - 1])))
    target.write_bytes(data)


def _with_count(victim: Victim, target: Path, rng: Rng) -> None:
    """Change a small number in the head of the file, such as a count, a size or a rate."""
    data = bytearray(victim.path.read_bytes())
    at = int(rng.integers(0, min(2048, len(data))))
    data[at] = (data[at] + int(rng.choice([1, 2, 16, 128, 255]))) % 256
    target.write_bytes(data)


def _spliced(victim: Victim, target: Path, rng: Rng) -> None:
    """Put a piece of another file in place of a piece of this one, or behind it."""
    data, piece = bytearray(victim.path.read_bytes()), victim.other.read_bytes()
    start = int(rng.integers(0, len(piece)))
    piece = piece[start : start + int(rng.integers(1, 20_000))]
    at = len(data) if rng.random() < 0.2 else int(rng.integers(0, len(data)))
    data[at : at + (len(piece) if rng.random() < 0.7 else 0)] = piece
    target.write_bytes(data)


def _joined(victim: Victim, target: Path, rng: Rng) -> None:
    """Two files, or their halves, one behind the other."""
    first, second = victim.path.read_bytes(), victim.other.read_bytes()
    half = rng.random() < 0.5
    target.write_bytes((first[: len(first) // 2] if half else first) + (second[len(second) // 2 :] if half else second))


def _boxes_swapped(victim: Victim, target: Path, rng: Rng) -> None:
    """Swap two top-level boxes of an mp4, or two kilobytes of another container."""
    data = victim.path.read_bytes()
    cuts = [0]
    while victim.path.suffix in (".mp4", ".mov") and cuts[-1] + 8 <= len(data):
        size = int.from_bytes(data[cuts[-1] : cuts[-1] + 4], "big")
        cuts.append(cuts[-1] + size if size >= 8 else len(data))
    if len(cuts) < 4:
        cuts = list(range(0, len(data), 1024))
    parts = [data[a:b] for a, b in zip(cuts, [*cuts[1:], len(data)], strict=True)]
    one, other = rng.integers(0, len(parts), 2).tolist()
    parts[one], parts[other] = parts[other], parts[one]
    target.write_bytes(b"".join(parts))


def _changed_packets(change: Callable[[list[Raw], Rng], list[Raw]]) -> Callable[[Victim, Path, Rng], None]:
    def damaged(victim: Victim, target: Path, rng: Rng) -> None:
        try:
            if victim.path.stat().st_size > _LONGEST_REMUXED:
                raise ValueError("too large")
            write(target, victim.path, change(packets_of(victim.path), rng))
        except (av.error.FFmpegError, ValueError):  # a container that refuses them: the bytes are damaged instead
            target.unlink(missing_ok=True)
            _with_size(victim, target, rng)

    damaged.__name__ = change.__name__
    return damaged


def _packets_dropped(packets: list[Raw], rng: Rng) -> list[Raw]:
    lost = set(rng.integers(0, len(packets), rng.integers(1, 4)).tolist())
    return [packet for number, packet in enumerate(packets) if number not in lost] or packets


def _packets_doubled(packets: list[Raw], rng: Rng) -> list[Raw]:
    at = int(rng.integers(0, len(packets)))
    doubled = [*packets[: at + 1], *packets[at:]]
    return [packet._replace(dts=number) for number, packet in enumerate(doubled)]


def _packets_swapped(packets: list[Raw], rng: Rng) -> list[Raw]:
    one, other = rng.integers(0, len(packets), 2).tolist()
    data = [packet.data for packet in packets]
    data[one], data[other] = data[other], data[one]
    return [packet._replace(data=content) for packet, content in zip(packets, data, strict=True)]


def _packets_damaged(packets: list[Raw], rng: Rng) -> list[Raw]:
    at = int(rng.integers(0, len(packets)))
    content = bytearray(packets[at].data)
    start = int(rng.integers(0, len(content)))
    kind = rng.random()
    if kind < 0.4:
        content[start] ^= 1 << int(rng.integers(0, 8))
    elif kind < 0.7:
        content[start : start + 200] = bytes(len(content[start : start + 200]))
    else:
        content = content[: max(1, start)]
    return [*packets[:at], packets[at]._replace(data=bytes(content)), *packets[at + 1 :]]


def _of_bytes(change: Callable[[bytearray, Rng], bytearray]) -> Callable[[Victim, Path, Rng], None]:
    def damaged(victim: Victim, target: Path, rng: Rng) -> None:
        target.write_bytes(change(bytearray(victim.path.read_bytes()), rng))

    damaged.__name__ = change.__name__
    return damaged


KINDS: tuple[Callable[[Victim, Path, Rng], None], ...] = (
    *map(_of_bytes, dict.fromkeys(DAMAGES)),
    _of_bytes(DAMAGES[0]),  # truncation, the most common kind, a second time
    _with_size,
    _with_size,
    _with_count,
    _spliced,
    _joined,
    _boxes_swapped,
    *map(_changed_packets, (_packets_dropped, _packets_doubled, _packets_swapped, _packets_damaged)),
)
# Kinds that make a whole file of fewer pictures, which no container can tell.
HONESTLY_SHORTER = frozenset(
    ("_packets_dropped", "_packets_doubled", "_packets_swapped", "_packets_damaged", "_joined", "_text", "_spliced")
)
