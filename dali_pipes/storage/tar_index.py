"""Index an uncompressed tar file from its headers: its videos, their byte offsets and labels.

The label of a video ``dir/key.mp4`` is in ``dir/key.cls``, ``.txt`` or ``.json`` ({"label": ...}) of the same tar file,
as WebDataset names them; a list in the JSON means several labels.
"""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import PurePosixPath
from typing import BinaryIO, NamedTuple

from dali_pipes.annotations.lists import VIDEO_SUFFIXES
from dali_pipes.packets.packet_index import ChangedFileError
from dali_pipes.storage.byte_range import ByteRange

_BLOCK = tarfile.BLOCKSIZE
# Headers are read through a buffer of this many bytes, so small members beside a video need no separate read.
_BUFFER = 16_384
_LARGEST_LABEL = 65_536
_LABEL_SUFFIXES = (".cls", ".txt", ".json")  # the first that exists counts
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}


class TarVideo(NamedTuple):
    """A video in a tar file: name, byte offset, size in bytes, and labels, if any."""

    name: str
    start: int
    size: int
    labels: tuple[str, ...] = ()


class TarContents(NamedTuple):
    """``damage`` describes the fault of the tar file and what is not used because of it; empty if there is none."""

    videos: tuple[TarVideo, ...]
    damage: str = ""


def list_videos(file: str, size: int) -> TarContents:
    """List the videos of a tar file.

    Args:
        file: local path or URL.
        size: size of the file in bytes.

    Raises:
        ValueError: the file is compressed or not a tar file, has a name twice, or an invalid label.
        OSError: the file cannot be read.
    """
    with io.BufferedReader(ByteRange(file, 0, size), _BUFFER) as stream:
        start = stream.peek(8)[:8]
        for mark, name in _COMPRESSED.items():
            if start.startswith(mark):
                raise ValueError(f"{file}: expected an uncompressed tar file, found {name}; decompress it.")
        try:
            with tarfile.open(fileobj=stream, mode="r:") as tar:
                return _read_headers(tar, stream, file, size)
        except tarfile.TarError as error:
            raise ValueError(f"{file}: expected a tar file, found none: {error}.") from error


def _read_headers(tar: tarfile.TarFile, stream: BinaryIO, file: str, size: int) -> TarContents:
    videos: dict[str, TarVideo] = {}
    labels: dict[str, dict[str, tuple[str, ...]]] = {}
    damage = ""
    try:
        while (member := tar.next()) is not None:
            if not member.isreg() or member.sparse is not None:
                continue
            name = member.name.removeprefix("./")
            if PurePosixPath(name).name.startswith("."):  # macOS writes ._clip.mp4 beside clip.mp4
                continue
            if member.offset_data + member.size > size:
                damage = f"it ends within {name}"
                break
            key, suffix = _split_name(name)
            if suffix in _LABEL_SUFFIXES and member.size <= _LARGEST_LABEL:
                content = tar.extractfile(member)
                assert content is not None
                labels.setdefault(key, {})[suffix] = _parse_label(content.read(), suffix, f"{file}/{name}")
            elif suffix in VIDEO_SUFFIXES:
                if name in videos:
                    raise ValueError(f"{file}: expected each name once, found {name} twice; write the tar file again.")
                videos[name] = TarVideo(name, member.offset_data, member.size)
            tar.members.clear()  # type: ignore[attr-defined]  # otherwise it keeps all
    except tarfile.ReadError as error:
        damage = str(error)
    damage = damage or _damage_at_end(tar, stream, size)
    found = [
        video._replace(labels=_first_label(labels.get(_split_name(video.name)[0], {}))) for video in videos.values()
    ]
    return TarContents(tuple(found), f"{damage}; the rest is not used" if damage else "")


def _damage_at_end(tar: tarfile.TarFile, stream: BinaryIO, size: int) -> str:
    """Find damage that tarfile ignores: a truncated or missing header, in place of a final block of zeros."""
    at = int(tar.offset)
    stream.seek(min(at, size))
    block = stream.read(_BLOCK)
    if len(block) < _BLOCK:
        return f"it ends at byte {size} without an end mark, so it may be truncated"
    return "" if not any(block) else f"there is no header at byte {at}"


def _split_name(name: str) -> tuple[str, str]:
    """Key and suffix: the key ends at the first dot of the file's name, the suffix starts at the last."""
    path = PurePosixPath(name)
    return str(path.parent / path.name.partition(".")[0]), path.suffix.lower()


def _first_label(found: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    return next((found[suffix] for suffix in _LABEL_SUFFIXES if found.get(suffix)), ())


def _parse_label(content: bytes, suffix: str, source: str) -> tuple[str, ...]:
    """Labels as written; none if a JSON has no entry "label"."""
    try:
        text = content.decode("utf-8-sig").strip()
        label = json.loads(text) if suffix == ".json" else text
    except ValueError as error:
        raise ValueError(f"{source}: expected a label as text or JSON, found neither: {error}.") from error
    if suffix == ".json":
        label = label.get("label", []) if isinstance(label, dict) else []
    many = label if isinstance(label, list) else [label]
    if any(isinstance(one, bool) or not isinstance(one, str | int) or one == "" for one in many):
        raise ValueError(f"{source}: expected a label, name or number, or a list of labels in JSON, found {label!r}.")
    labels = tuple(str(one) for one in many)
    if len(set(labels)) < len(labels) or any("\n" in one for one in labels):
        raise ValueError(f"{source}: expected one label, or a JSON list with each once, found {label!r}.")
    return labels


def read_member(file: str, start: int, size: int) -> bytes:
    """Read a member in one read with its header, which shows whether the tar file has changed since it was listed.

    Raises:
        ChangedFileError: no member of this size begins at this offset.
        OSError: the file cannot be read.
    """
    with ByteRange(file, start - _BLOCK, size + _BLOCK) as byte_range:
        data = byte_range.read()
    try:
        header = tarfile.TarInfo.frombuf(data[:_BLOCK], "utf-8", "surrogateescape")
    except tarfile.TarError as error:
        raise ChangedFileError(f"expected a member at byte {start} of {file}, found none; scan again.") from error
    if header.size != size:
        raise ChangedFileError(f"expected {size} bytes at {start} of {file}, found {header.size}; scan again.")
    return data[_BLOCK:]
