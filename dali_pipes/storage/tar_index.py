"""Index an uncompressed tar file from its headers: its videos, their byte offsets and labels.

The label of a video ``dir/key.mp4`` is in ``dir/key.cls``, ``.txt`` or ``.json`` ({"label": ...}) of the same tar file,
as WebDataset names them; a list in the JSON means several labels.
"""

from __future__ import annotations

import io
import tarfile
import unicodedata
from pathlib import PurePosixPath
from typing import BinaryIO, NamedTuple

from dali_pipes.annotations.lists import VIDEO_SUFFIXES
from dali_pipes.json_files import parse_json
from dali_pipes.packets.packet_index import ChangedFileError
from dali_pipes.storage.byte_range import ByteRange

_BLOCK = tarfile.BLOCKSIZE
# Headers are read through a buffer of this many bytes, so small members beside a video need no separate read.
_BUFFER = 16_384
_LARGEST_LABEL = 65_536
_SEARCHED_AFTER_END = 65_536  # bytes behind the end mark, and as many at the end of the file
_NUM_NAMED = 4  # one more than are shown, which tells that there are more
_LARGEST_NAME = 1 << 20  # bytes of a header that holds a long name or other facts; file systems allow 4,096 for a name
_LABEL_SUFFIXES = (".cls", ".txt", ".json")  # the first that exists counts
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}


class TarVideo(NamedTuple):
    """A video in a tar file: name, byte offset, size in bytes, and labels, if any."""

    name: str
    start: int
    size: int
    labels: tuple[str, ...] = ()


class UnusedMembers(NamedTuple):
    """Members of one kind that are not used: how many, and the names of the first few."""

    kind: str
    number: int
    first: tuple[str, ...]


class TarContents(NamedTuple):
    """What a tar file holds.

    Args:
        damage: the fault of the tar file and what is not used because of it; empty if there is none.
        unused: the members that are neither videos nor labels of one, by kind.
    """

    videos: tuple[TarVideo, ...]
    damage: str = ""
    unused: tuple[UnusedMembers, ...] = ()


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
            tar = tarfile.TarFile(fileobj=stream, tarinfo=_Header)
        except OSError:
            raise
        except Exception as error:  # as in _next_member
            raise ValueError(f"{file}: expected a tar file, found none: {_reason(error)}.") from error
        with tar:
            return _read_headers(tar, stream, file, size)


def _read_headers(tar: tarfile.TarFile, stream: BinaryIO, file: str, size: int) -> TarContents:
    videos: dict[str, TarVideo] = {}
    labels: dict[str, dict[str, tuple[str, ...]]] = {}
    damage, hidden, others = "", list[str](), list[str]()
    try:
        while (member := _next_member(tar)) is not None:
            name = member.name.removeprefix("./")
            if member.isdir():
                continue
            if PurePosixPath(name).name.startswith("."):  # macOS writes ._clip.mp4 beside clip.mp4
                hidden.append(name)
                continue
            _check_is_plain(member, name, file)
            if not member.isreg():
                others.append(name)
                continue
            if member.offset_data + member.size > size:
                damage = f"it ends within {name}"
                break
            key, suffix = _split_name(name)
            if suffix in _LABEL_SUFFIXES and member.size <= _LARGEST_LABEL:
                content = tar.extractfile(member)
                assert content is not None
                if suffix in labels.setdefault(key, {}):
                    raise ValueError(f"{file}: expected each name once, found {name} twice; write the tar file again.")
                labels[key][suffix] = _parse_label(content.read(), suffix, f"{file}/{name}")
                if any(stream.read(-member.size % _BLOCK)):
                    raise ValueError(f"{file}: expected zeros after {name}, found more; write the tar file again.")
            elif suffix in VIDEO_SUFFIXES:
                if name in videos:
                    raise ValueError(f"{file}: expected each name once, found {name} twice; write the tar file again.")
                videos[name] = TarVideo(name, member.offset_data, member.size)
            else:
                others.append(name)
            tar.members.clear()  # type: ignore[attr-defined]  # otherwise it keeps all
    except tarfile.TarError as error:
        damage = str(error)
    damage = damage or _damage_at_end(tar, stream, size)
    found = [
        video._replace(labels=_first_label(labels.get(_split_name(video.name)[0], {}))) for video in videos.values()
    ]
    keys = {_split_name(name)[0] for name in videos} | (set(labels) if damage else set())
    alone = [f"{key}{suffix}" for key, of_key in labels.items() if key not in keys for suffix in of_key]
    damage = f"{damage}; the rest is not used" if damage else ""
    kinds = {"label without a video": alone, "hidden file": hidden, "file of another kind": others}
    unused = [UnusedMembers(kind, len(names), tuple(names[:_NUM_NAMED])) for kind, names in kinds.items() if names]
    return TarContents(tuple(found), damage, tuple(unused))


class _Header(tarfile.TarInfo):
    """Refuses headers by which a tar file of some bytes takes all memory or never ends."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        holds_facts = self.type in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, *_PAX_TYPES)
        if self.size < 0 or (holds_facts and self.size > _LARGEST_NAME):
            raise tarfile.ReadError(f"the header at byte {self.offset} has an impossible size ({self.size})")
        found: tarfile.TarInfo = super()._proc_member(archive)  # type: ignore[misc]
        if found.size < 0:  # by a fact in a PAX header
            raise tarfile.ReadError(f"the header at byte {self.offset} has an impossible size ({found.size})")
        return found


_PAX_TYPES = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)


def _next_member(tar: tarfile.TarFile) -> tarfile.TarInfo | None:
    """The next member; None at the end.

    Raises:
        tarfile.ReadError: the headers are damaged. ``tarfile`` itself raises anything then.
        OSError: the file cannot be read.
    """
    try:
        return tar.next()
    except (OSError, tarfile.TarError):
        raise
    except Exception as error:
        raise tarfile.ReadError(f"the header at byte {tar.offset} is damaged ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    return "too many headers for one member" if isinstance(error, RecursionError) else str(error) or repr(error)


def _check_is_plain(member: tarfile.TarInfo, name: str, file: str) -> None:
    """Refuse a video or label that is no plain run of bytes in the file."""
    if not name.lower().endswith((*VIDEO_SUFFIXES, *_LABEL_SUFFIXES)):
        return
    if member.sparse is not None:
        raise ValueError(f"{file}: expected {name} as plain bytes, found a sparse file; write it without --sparse.")
    if not member.isreg():
        kind = "a link" if member.islnk() or member.issym() else "a device or pipe"
        raise ValueError(f"{file}: expected {name} as a file, found {kind}; write it with --hard-dereference -h.")


def _damage_at_end(tar: tarfile.TarFile, stream: BinaryIO, size: int) -> str:
    """Find damage that tarfile ignores: a truncated or missing header, in place of a final block of zeros."""
    at = int(tar.offset)
    stream.seek(min(at, size))
    block = stream.read(_BLOCK)
    if len(block) < _BLOCK:
        return f"it ends at byte {size} without an end mark, so it may be truncated"
    if any(block):
        return f"there is no header at byte {at}"
    # Zeros fill the last record. Other bytes are those of a file that was joined to this one, or of a lost header.
    parts = [stream.read(_SEARCHED_AFTER_END)]
    stream.seek(max(at, size - _SEARCHED_AFTER_END))
    return f"it goes on after the end mark at byte {at}" if any(map(any, [*parts, stream.read()])) else ""


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
        label = parse_json(text) if suffix == ".json" else text
    except ValueError as error:
        raise ValueError(f"{source}: expected a label as text or JSON, found neither: {error}.") from error
    if suffix == ".json":
        label = label.get("label", []) if isinstance(label, dict) else []
    many = label if isinstance(label, list) else [label]
    if any(isinstance(one, bool) or not isinstance(one, str | int) or one == "" for one in many):
        raise ValueError(f"{source}: expected a label, name or number, or a list of labels in JSON, found {label!r}.")
    labels = tuple(str(one) for one in many)
    if len(set(labels)) < len(labels) or any(unicodedata.category(mark) == "Cc" for one in labels for mark in one):
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
