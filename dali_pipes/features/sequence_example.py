"""Read and write records of YouTube-8M's frame-level files: tensorflow.SequenceExample, without TensorFlow.

The context has ``id`` (2018 and 2019; ``video_id`` in 2017) and the int64 list ``labels``; the feature lists ``rgb``
and ``audio`` have one Feature per frame, each with one string of bytes. Anything else, such as the segments of 2019
(``segment_labels`` and similar), is not read. Message types: tensorflow/core/example/{example,feature}.proto.

Shape letters: T frames, d features of a frame in one list.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from dali_pipes.features.protobuf_wire import (
    BYTES,
    VARINT,
    Field,
    MalformedMessageError,
    fields_of,
    merged,
    read_varint,
    signed,
    write_bytes,
    write_varint,
)
from dali_pipes.features.tfrecord import RecordWriter

_KINDS = {1: "bytes", 2: "floats", 3: "integers"}
_BYTES_LIST, _INT64_LIST = 1, 3
_ID_KEYS = ("id", "video_id")


class BadFeaturesError(ValueError):
    """A record has other features than requested."""


class ListLocation(NamedTuple):
    """One feature list: the FeatureList message is ``data[start:stop]``."""

    data: bytes
    start: int
    stop: int


class Context(NamedTuple):
    """Id and labels of a record's video. Labels are in the record's order, without repeats."""

    video_id: str
    labels: tuple[int, ...]


def write_video(
    writer: RecordWriter,
    *,
    video_id: str,
    labels: Sequence[int],
    groups: Mapping[str, np.ndarray],
    id_key: str = "id",
) -> None:
    """Append a video to a file of records.

    Args:
        groups: name of a feature list ("rgb", "audio") -> uint8 (T, d), quantized as in ``FeatureView``; T is the
            same in all.
        id_key: "id", or "video_id" as in 2017.

    Raises:
        ValueError, TypeError: groups of other types or with different numbers of frames, or an unknown ``id_key``.
    """
    writer.write(encode_video(video_id=video_id, labels=labels, groups=groups, id_key=id_key))


def encode_video(
    *, video_id: str, labels: Sequence[int], groups: Mapping[str, np.ndarray], id_key: str = "id"
) -> bytes:
    """Encode the record that ``write_video`` writes."""
    if id_key not in _ID_KEYS:
        raise ValueError(f"id_key: expected one of {_ID_KEYS}, found {id_key!r}.")
    for name, frames_Td in groups.items():
        if frames_Td.dtype != np.uint8 or frames_Td.ndim != 2:
            raise TypeError(
                f"groups[{name!r}]: expected uint8 (frames, features), found {frames_Td.dtype} {frames_Td.shape}; "
                "quantize the features first."
            )
    lengths = {name: len(frames_Td) for name, frames_Td in groups.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"groups: expected the same number of frames in each, found {lengths}.")
    numbers = b"".join(write_varint(label) for label in labels)
    context = {
        id_key: write_bytes(_BYTES_LIST, write_bytes(1, video_id.encode())),
        "labels": write_bytes(_INT64_LIST, write_bytes(1, numbers)),
    }
    lists = {name: _encode_list(frames_Td) for name, frames_Td in groups.items()}
    return write_bytes(1, _encode_map(context)) + write_bytes(2, _encode_map(lists))


def _encode_map(entries: Mapping[str, bytes]) -> bytes:
    return b"".join(write_bytes(1, write_bytes(1, key.encode()) + write_bytes(2, entries[key])) for key in entries)


def _encode_list(frames_Td: np.ndarray) -> bytes:
    num_frames, dim = frames_Td.shape
    prefix = np.frombuffer(_frame_prefix(dim), np.uint8)
    return np.concatenate([np.broadcast_to(prefix, (num_frames, len(prefix))), frames_Td], axis=1).tobytes()


@functools.lru_cache(maxsize=64)
def _frame_prefix(dim: int) -> bytes:
    """The bytes before a frame's ``dim`` bytes: tags and lengths of Feature, BytesList and its value."""
    prefix = b""
    for _ in range(3):
        prefix = b"\x0a" + write_varint(dim + len(prefix)) + prefix
    return prefix


def parse_context(data: bytes, start: int, stop: int) -> Context:
    """Read id and labels of the record in ``data[start:stop]``; its feature lists are skipped.

    Raises:
        MalformedMessageError: the bytes are not a SequenceExample.
    """
    video_id = ""
    labels: tuple[int, ...] = ()
    for key, (entry, begin, end) in _map_of(data, start, stop, number=1).items():
        if key in _ID_KEYS:
            strings = _values(entry, begin, end, _BYTES_LIST)
            video_id = b"".join(entry[field.start : field.stop] for field in strings[:1]).decode("utf-8", "replace")
        elif key == "labels":
            labels = tuple(dict.fromkeys(_integers(entry, begin, end)))
    return Context(video_id, labels)


def context_end(data: bytes, start: int) -> int | None:
    """End of the context of the record at ``start`` if it comes first, as writers put it; else None."""
    try:
        tag, at = read_varint(data, start, len(data))
        length, at = read_varint(data, at, len(data))
    except MalformedMessageError:
        return None
    return at + length if tag == (1 << 3 | BYTES) else None


def parse_lists(data: bytes, start: int, stop: int) -> dict[str, ListLocation]:
    """Find the feature lists of the record in ``data[start:stop]``: name -> location.

    Raises:
        MalformedMessageError: the bytes are not a SequenceExample.
    """
    return {name: ListLocation(*location) for name, location in _map_of(data, start, stop, number=2).items()}


def frames_of(location: ListLocation, name: str, dim: int) -> np.ndarray:
    """Read the frames of a feature list as uint8 (T, d); they share the record's memory if all are encoded alike.

    Raises:
        BadFeaturesError: a frame is not a string of ``dim`` bytes; names the list and the frame.
        MalformedMessageError: the bytes are not a feature list.
    """
    prefix = _frame_prefix(dim)
    stride = len(prefix) + dim
    num_frames, rest = divmod(location.stop - location.start, stride)
    if rest == 0:
        frames = np.frombuffer(location.data, np.uint8, num_frames * stride, location.start).reshape(num_frames, stride)
        if (frames[:, : len(prefix)] == np.frombuffer(prefix, np.uint8)).all():
            return frames[:, len(prefix) :]
    return _frames_one_by_one(location, name, dim)


def describe_list(location: ListLocation) -> int | str:
    """Number of bytes of a feature list's first frame; "no frames", "floats" or "integers" if it has none.

    Raises:
        MalformedMessageError: the bytes are not a feature list.
    """
    for field in _messages(location.data, location.start, location.stop, 1):
        kind, values = _feature(location.data, field.start, field.stop)
        if kind == _BYTES_LIST and values:
            return values[0].stop - values[0].start
        return _KINDS.get(kind, "nothing")
    return "no frames"


def _frames_one_by_one(location: ListLocation, name: str, dim: int) -> np.ndarray:
    frames = []
    for number, field in enumerate(_messages(location.data, location.start, location.stop, 1)):
        kind, values = _feature(location.data, field.start, field.stop)
        lengths = [value.stop - value.start for value in values]
        if kind != _BYTES_LIST or lengths != [dim]:
            holds = f"strings of {lengths} bytes" if kind == _BYTES_LIST else _KINDS.get(kind, "nothing")
            raise BadFeaturesError(
                f"feature list {name}: expected one string of {dim} bytes per frame, found {holds} in frame {number}"
            )
        frames.append(np.frombuffer(location.data, np.uint8, dim, values[0].start))
    return np.stack(frames) if frames else np.empty((0, dim), np.uint8)


def _map_of(data: bytes, start: int, stop: int, *, number: int) -> dict[str, tuple[bytes, int, int]]:
    """Read the map in field ``number`` of a SequenceExample: key -> value message."""
    occurrences = [(field.start, field.stop) for field in _messages(data, start, stop, number)]
    found = {}
    for begin, end in occurrences:
        for entry in _messages(data, begin, end, 1):
            key, parts = "", []
            for field in fields_of(data, entry.start, entry.stop):
                if field.wire_type == BYTES and field.number == 1:
                    key = data[field.start : field.stop].decode("utf-8", "replace")
                elif field.wire_type == BYTES and field.number == 2:
                    parts.append((field.start, field.stop))
            found[key] = merged(data, parts) if parts else (data, entry.stop, entry.stop)
    return found


def _messages(data: bytes, start: int, stop: int, number: int) -> list[Field]:
    fields = fields_of(data, start, stop)
    return [field for field in fields if field.number == number and field.wire_type == BYTES]


def _feature(data: bytes, start: int, stop: int) -> tuple[int, list[Field]]:
    """(kind, values) of a Feature. It is a oneof: the last kind counts, and its occurrences are merged."""
    kinds: dict[int, list[Field]] = defaultdict(list)
    last = 0
    for field in fields_of(data, start, stop):
        if field.wire_type == BYTES and field.number in _KINDS:
            if field.number != last:
                kinds[field.number].clear()
            last = field.number
            kinds[last] += [value for value in fields_of(data, field.start, field.stop) if value.number == 1]
    return last, kinds[last]


def _values(data: bytes, start: int, stop: int, kind: int) -> list[Field]:
    found, values = _feature(data, start, stop)
    return values if found == kind else []


def _integers(data: bytes, start: int, stop: int) -> list[int]:
    """Read the numbers of an Int64List, packed or not."""
    numbers = []
    for field in _values(data, start, stop, _INT64_LIST):
        if field.wire_type == VARINT:
            numbers.append(signed(field.value))
        elif field.wire_type == BYTES:
            at = field.start
            while at < field.stop:
                value, at = read_varint(data, at, field.stop)
                numbers.append(signed(value))
    return numbers
