"""What lies in an uncompressed tar file, from its headers alone: which videos, where, with which labels.

A video ``dir/key.mp4`` finds its label in ``dir/key.cls``, ``.txt`` or ``.json`` ({"label": ...}) of the same tar file,
as WebDataset names them; a list in the JSON is several labels.
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
# Headers are read through a buffer of so many bytes: small members beside a video cost no read of their own.
_BUFFER = 16_384
_LARGEST_LABEL = 65_536
_LABEL_SUFFIXES = (".cls", ".txt", ".json")  # the first that is there counts
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}


class TarVideo(NamedTuple):
    """A video in a tar file: name, first byte, bytes, and labels, if any."""

    name: str
    start: int
    size: int
    labels: tuple[str, ...] = ()


class TarContents(NamedTuple):
    """``damage``: what is wrong with the tar file, and what of it is not used; empty where nothing is."""

    videos: tuple[TarVideo, ...]
    damage: str = ""


def list_videos(file: str, size: int) -> TarContents:
    """The videos of a tar file.

    Args:
        file: local path or URL.
        size: of the file, bytes.

    Raises:
        ValueError: it is compressed, is no tar file, holds a name twice, or a label that is none.
        OSError: it cannot be read.
    """
    with io.BufferedReader(ByteRange(file, 0, size), _BUFFER) as stream:
        start = stream.peek(8)[:8]
        for mark, name in _COMPRESSED.items():
            if start.startswith(mark):
                raise ValueError(f"{file}: expected an uncompressed tar file, found {name}; clips are read by place.")
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
                damage = f"it ends inside of {name}"
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
            tar.members.clear()  # type: ignore[attr-defined]  # or it keeps them all
    except tarfile.ReadError as error:
        damage = str(error)
    damage = damage or _damage_at_end(tar, stream, size)
    found = [
        video._replace(labels=_first_label(labels.get(_split_name(video.name)[0], {}))) for video in videos.values()
    ]
    return TarContents(tuple(found), f"{damage}; what follows is not used" if damage else "")


def _damage_at_end(tar: tarfile.TarFile, stream: BinaryIO, size: int) -> str:
    """tarfile ends without a word at a header that is cut or is none; a sound end is a block of zeros."""
    at = int(tar.offset)
    stream.seek(min(at, size))
    block = stream.read(_BLOCK)
    if len(block) < _BLOCK:
        return f"it ends at byte {size} without an end mark, so it may be cut"
    return "" if not any(block) else f"there is no header at byte {at}"


def _split_name(name: str) -> tuple[str, str]:
    """Key and suffix: the key ends at the first dot of the file's name, the suffix is what follows the last."""
    path = PurePosixPath(name)
    return str(path.parent / path.name.partition(".")[0]), path.suffix.lower()


def _first_label(found: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    return next((found[suffix] for suffix in _LABEL_SUFFIXES if found.get(suffix)), ())


def _parse_label(content: bytes, suffix: str, source: str) -> tuple[str, ...]:
    """Labels as written; none where a JSON has no entry "label"."""
    try:
        text = content.decode("utf-8-sig").strip()
        label = json.loads(text) if suffix == ".json" else text
    except ValueError as error:
        raise ValueError(f"{source}: expected a label as text or JSON, found neither: {error}.") from error
    if suffix == ".json":
        label = label.get("label", []) if isinstance(label, dict) else []
    many = label if isinstance(label, list) else [label]
    if any(isinstance(one, bool) or not isinstance(one, str | int) or one == "" for one in many):
        raise ValueError(f"{source}: expected a label, a name or a number, or a list of them in JSON, found {label!r}.")
    labels = tuple(str(one) for one in many)
    if len(set(labels)) < len(labels) or any("\n" in one for one in labels):
        raise ValueError(f"{source}: expected one label, or a JSON list with each once, found {label!r}.")
    return labels


def read_member(file: str, start: int, size: int) -> bytes:
    """All bytes of a member, in one read with its header, which tells whether the tar file is still the one listed.

    Raises:
        ChangedFileError: no member of this size begins there.
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
