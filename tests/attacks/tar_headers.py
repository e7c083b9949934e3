"""Damage the headers of tar shards and list their videos, as a start of training does.

    python -m tests.attacks.tar_headers --count 300 --seed 0

Silent change: a video has another label than in the undamaged file, or is not listed and nothing is said.
"""

from __future__ import annotations

import argparse
import io
import random
import struct
import sys
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from dali_pipes.storage.shards import list_shards
from dali_pipes.storage.tar_index import list_videos
from dali_pipes.storage_spec import Storage
from reskd.faults import sentence_of
from tests.attacks.outcomes import HangError, Outcome, deadline, report

_BLOCK = 512
NUM_VIDEOS = 6


def shard(rng: random.Random) -> tuple[bytes, dict[str, tuple[bytes, str]]]:
    """A tar file of a random format, and name -> (content, label) of its videos."""
    videos: dict[str, tuple[bytes, str]] = {}
    file = io.BytesIO()
    form = rng.choice((tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))
    long = "" if form == tarfile.USTAR_FORMAT else "x" * 150
    with tarfile.open(fileobj=file, mode="w", format=form) as tar:
        for number in range(NUM_VIDEOS):
            name, content = f"clip{long}{number}", rng.randbytes(rng.randrange(1, 2000))
            videos[f"{name}.mp4"] = content, f"class{number % 3}"
            add(tar, f"{name}.mp4", content)
            if number % 2:
                add(tar, f"{name}.cls", videos[f"{name}.mp4"][1].encode())
            else:
                add(tar, f"{name}.json", f'{{"label": "{videos[f"{name}.mp4"][1]}"}}'.encode())
    return file.getvalue(), videos


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def headers(data: bytes) -> list[int]:
    """Offsets of the headers."""
    return [at for at in range(0, len(data) - 8 * _BLOCK, _BLOCK) if data[at + 257 : at + 262] == b"ustar"]


def with_field(data: bytes, at: int, field: slice, value: bytes, *, sum_again: bool = True) -> bytes:
    """The header at ``at`` with another field, and a checksum that fits unless ``sum_again`` is False."""
    header = bytearray(data[at : at + _BLOCK])
    header[field] = value[: field.stop - field.start].ljust(field.stop - field.start, b"\0")
    if sum_again:
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
    return data[:at] + bytes(header) + data[at + _BLOCK :]


NAME, SIZE, TYPE, LINK, PREFIX = slice(0, 100), slice(124, 136), slice(156, 157), slice(157, 257), slice(345, 500)
SIZES = [
    b"-0000000001\0",
    b"77777777777\0",
    b"",
    b"abc",
    b"00000000000\0",
    b"1" * 12,
    b"\xff" * 12,
    b"\x80" + b"\xff" * 11,
]
SIZES += [b"\x80" + b"\0" * 10 + b"\x05", b"\xff" * 11 + b"\x00", struct.pack(">BxxxQ", 0x80, 2**62), b"0000000-512\0"]
TYPES = b"0123456789LKSxgXVMDN\0\x01\xff"
NAMES = [
    b"",
    b"../../etc/a.mp4",
    b"/a.mp4",
    b"a" * 100,
    b"clip0.mp4",
    b"./clip0.mp4",
    b"\xff\xfe.mp4",
    b"a\nb.mp4",
    b".mp4",
]
NAMES += [
    b"clip1.cls",
    b"clip1.json",
    b"dir/",
    b"a|b.mp4",
    b"a,b.mp4",
    b"\x1b[2J.mp4",
    b"clip0.json.mp4",
    b"x.tar/y.mp4",
]
PAX = [
    b"30 size=-100\n",
    b"20 size=99999999999\n",
    b"12 size=abc\n",
    b"0 a=b\n",
    b"-1 a=b\n",
    b"99999999 a=b\n",
    b"9" * 600,
]
PAX += [
    b"\xff\xfe",
    b"22 GNU.sparse.size=99\n",
    b"25 GNU.sparse.major=1\n25 GNU.sparse.minor=0\n",
    b"8 path=\n",
    b"17 path=../b.mp4\n",
]
PAX += [
    b"21 GNU.sparse.map=0,1\n",
    b"27 GNU.sparse.map=a,b,c,d,e\n",
    b"27 GNU.sparse.numblocks=-1\n",
    b"13 size=1e9\n",
    b"",
]
LABELS = [
    b"",
    b"[" * 50_000,
    b'{"label": 1e999}',
    b'{"label": ' + b"9" * 5000 + b"}",
    b'{"label": [[1]]}',
    b'{"label": null}',
    b"\xff",
]
LABELS += [
    b'{"label": {"a": 1}}',
    b'{"label": true}',
    b'{"label": "a\\nb"}',
    b'{"label": NaN}',
    b"a\0b",
    b'{"label": ["a", "a"]}',
]
LABELS += [b'{"label": 1, "label": 2}', b"{", b"{}", b'"a"', b"x" * 70_000, b'{"label": ""}', b'{"a": ' * 3000]


def other_size(data: bytes, rng: random.Random) -> bytes:
    return with_field(data, rng.choice(headers(data)), SIZE, rng.choice(SIZES))


def other_type(data: bytes, rng: random.Random) -> bytes:
    return with_field(data, rng.choice(headers(data)), TYPE, bytes([rng.choice(TYPES)]))


def other_name(data: bytes, rng: random.Random) -> bytes:
    return with_field(data, rng.choice(headers(data)), rng.choice((NAME, NAME, PREFIX, LINK)), rng.choice(NAMES))


def wrong_checksum(data: bytes, rng: random.Random) -> bytes:
    return with_field(
        data, rng.choice(headers(data)), slice(148, 156), rng.choice((b"", b"9" * 8, b"000000\0 ")), sum_again=False
    )


def flipped_bits(data: bytes, rng: random.Random) -> bytes:
    """In headers, so that contents and labels stay."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 5))):
        changed[rng.choice(headers(data)) + rng.randrange(345)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def zeros(data: bytes, rng: random.Random) -> bytes:
    at = rng.choice(headers(data))
    return data[:at] + b"\0" * _BLOCK * rng.choice((1, 2)) + data[at + (_BLOCK if rng.random() < 0.5 else 0) :]


def added_header(data: bytes, rng: random.Random) -> bytes:
    """A header of GNU or PAX before another one, once or many times."""
    at = rng.choice(headers(data))
    content = rng.choice(PAX)
    kind = rng.choice((b"x", b"g", b"L", b"K", b"X", b"S"))
    header = with_field(data[at : at + _BLOCK], 0, TYPE, kind)
    header = with_field(header, 0, SIZE, rng.choice((b"%011o\0" % len(content), *SIZES)))
    block = header + content + b"\0" * (-len(content) % _BLOCK)
    return data[:at] + block * rng.choice((1, 1, 1, 3000)) + data[at:]


def twice(data: bytes, rng: random.Random) -> bytes:
    first, second = sorted(rng.sample(headers(data), 2))
    return data[:second] + data[first:second] + data[second:]


def other_label(data: bytes, rng: random.Random) -> bytes:
    """Another member of the name of a label, before it."""
    file = io.BytesIO()
    content = rng.choice(LABELS)
    with tarfile.open(fileobj=file, mode="w") as tar:
        add(tar, rng.choice(("new.json", "new.cls", "new.txt")), content)
        add(tar, "new.mp4", b"new")
    return file.getvalue()[: 2 * _BLOCK + len(content) + (-len(content) % _BLOCK) + _BLOCK] + data


def no_tar(data: bytes, rng: random.Random) -> bytes:
    starts = (
        b"",
        b"\x1f\x8b",
        b"BZh",
        rng.randbytes(2000),
        b"\0" * 511,
        b"\0" * 512,
        b"\0" * 10240,
        b"#!/bin/sh\n" * 100,
    )
    return rng.choice(starts) + (data if rng.random() < 0.3 else b"")


DAMAGES: Mapping[str, Callable[[bytes, random.Random], bytes]] = {
    function.__name__: function
    for function in (
        other_size, other_type, other_name, wrong_checksum, flipped_bits, cut, zeros, added_header, twice, other_label,
        no_tar,
    )
}  # fmt: skip


def try_shard(path: Path, videos: Mapping[str, tuple[bytes, str]], store: Path, cpu_seconds: float) -> Outcome:
    """List a damaged shard's videos; each must be one of the undamaged file's."""
    messages: list[str] = []
    try:
        with deadline(cpu_seconds):
            listed = list_shards(path.parent, Storage("shards"), path.name, store, messages.append)
            contents = list_videos(str(path), path.stat().st_size)
            again = list_shards(path.parent, Storage("shards"), path.name, store)
    except HangError:
        return Outcome("hang", f"more than {cpu_seconds} s")
    except Exception as error:
        sentence = sentence_of(error)
        if sentence is None or "\n" in sentence or path.name not in sentence:
            return Outcome("traceback", f"{type(error).__name__}: {str(error)[:300]}")
        return Outcome("refused in a sentence", sentence)
    if [one.path for one in listed] != [one.path for one in again]:
        return Outcome("silent change", "the kept listing differs")
    return _compared(
        path, videos, {video.name: (video.start, video.size, video.labels) for video in contents.videos}, messages
    )


def _compared(
    path: Path,
    videos: Mapping[str, tuple[bytes, str]],
    listed: Mapping[str, tuple[int, int, tuple[str, ...]]],
    messages: list[str],
) -> Outcome:
    data = path.read_bytes()
    contents = dict(videos.values())
    for name, (start, size, labels) in listed.items():
        label = contents.get(data[start : start + size])
        # A header that was made to say something else is believed: the tar format has nothing to tell it by.
        if name in videos and label is not None and labels and labels != (label,):
            return Outcome("silent change", f"{name} has the label {labels}, not {label}")
    missing = [name for name in videos if name not in listed]
    unknown = [name for name in listed if name not in videos and not name.startswith("new")]
    if len(missing) > len(unknown) and not messages:
        return Outcome("silent change", f"{missing} are not listed, and nothing is said; listed: {list(listed)}")
    return Outcome("worked", "; ".join(messages))


def attack(count: int, seed: int, folder: Path, *, cpu_seconds: float = 60) -> list[Outcome]:
    outcomes = []
    for number in range(count):
        rng = random.Random(f"{seed} {number}")
        data, videos = shard(rng)
        name = list(DAMAGES)[number % len(DAMAGES)]
        path = folder / f"shard{number}.tar"
        path.write_bytes(DAMAGES[name](data, rng))
        outcome = try_shard(path, videos, folder / "store", cpu_seconds)
        outcomes.append(outcome._replace(about=f"{number} ({name}): {outcome.about}"))
        path.unlink()
    return outcomes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300, help="damaged files (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        text, code = report(attack(chosen.count, chosen.seed, Path(folder), cpu_seconds=10))
    print(text)
    return code


if __name__ == "__main__":
    sys.exit(main())
