from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dali_pipes.features.protobuf_wire import MalformedMessageError, write_bytes, write_varint
from dali_pipes.features.sequence_example import (
    BadFeaturesError,
    Context,
    ListLocation,
    context_end,
    describe_list,
    encode_video,
    frames_of,
    parse_context,
    parse_lists,
)
from tests.dali_pipes.features.sequence_examples import floats, integers, new, sequence_example, strings


def _frames(count: int, dim: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, dim), dtype=np.uint8)


def _example(frames: np.ndarray, **context: Any) -> bytes:
    context = {"id": strings(b"abc"), "labels": integers(3, 1)} | context
    return sequence_example(context, {"rgb": [strings(frame.tobytes()) for frame in frames]}).SerializeToString()


def _lists(data: bytes) -> dict[str, ListLocation]:
    return parse_lists(data, 0, len(data))


@pytest.mark.parametrize("id_key", ["id", "video_id"])
@pytest.mark.parametrize("num_frames", [0, 1, 300])
def test_the_protobuf_package_reads_what_is_written(id_key: str, num_frames: int) -> None:
    rgb, audio = _frames(num_frames, 1024), _frames(num_frames, 128, 1)
    data = encode_video(video_id="aBc9", labels=[0, 300, 4715], groups={"rgb": rgb, "audio": audio}, id_key=id_key)
    found = new("SequenceExample")
    found.ParseFromString(data)
    context = {entry.key: entry.value for entry in found.context.feature}
    assert context[id_key].bytes_list.value == [b"aBc9"]
    assert context["labels"].int64_list.value == [0, 300, 4715]
    for name, expected in (("rgb", rgb), ("audio", audio)):
        (frames,) = [entry.value.feature for entry in found.feature_lists.feature_list if entry.key == name]
        assert [frame.bytes_list.value for frame in frames] == [[row.tobytes()] for row in expected]
    assert found.ByteSize() == len(data)


@pytest.mark.parametrize("dim", [1, 120, 121, 122, 127, 128, 1024, 16380, 16384])
def test_what_the_protobuf_package_writes_is_read_without_a_copy(dim: int) -> None:
    expected = _frames(3, dim)
    data = _example(expected)
    found = frames_of(_lists(data)["rgb"], "rgb", dim)
    assert (found == expected).all()
    assert not found.flags.owndata


def test_lists_of_other_names_and_segments_are_stepped_over() -> None:
    expected = _frames(2, 4)
    lists = {"other": [floats(0.5)], "rgb": [strings(frame.tobytes()) for frame in expected]}
    context = {"segment_labels": integers(9), "segment_scores": floats(1.0), "labels": integers(5), "id": strings(b"z")}
    data = sequence_example(context, lists).SerializeToString()
    assert parse_context(data, 0, len(data)) == Context("z", (5,))
    assert (frames_of(_lists(data)["rgb"], "rgb", 4) == expected).all()
    assert {name: describe_list(location) for name, location in _lists(data).items()} == {"other": "floats", "rgb": 4}


@pytest.mark.parametrize("labels", [(), (0,), (7, 3, 7), (-1, 2**40), (4715, 0)])
def test_labels_packed_and_not(labels: tuple[int, ...]) -> None:
    packed = _example(_frames(1, 4), labels=integers(*labels))
    one_by_one = b"".join(write_varint(1 << 3) + write_varint(label) for label in labels)
    feature = write_bytes(3, one_by_one)
    loose = write_bytes(1, write_bytes(1, write_bytes(1, b"labels") + write_bytes(2, feature)))
    for data in (packed, loose):
        assert parse_context(data, 0, len(data)).labels == tuple(dict.fromkeys(labels))


def test_legal_but_unusual_encodings_are_read() -> None:
    """Lengths with superfluous bytes, unknown fields, a message in two parts, an entry that comes twice."""

    def long_bytes(number: int, value: bytes) -> bytes:
        length = len(value)
        return bytes([number << 3 | 2, length & 0x7F | 0x80, length >> 7 | 0x80, 0]) + value

    frames = _frames(3, 4)
    bodies = [long_bytes(1, write_bytes(1, long_bytes(1, frame.tobytes()))) for frame in frames]
    unknown = (
        write_varint(9 << 3) + b"\x05" + write_varint(9 << 3 | 1) + b"8bytes!!" + write_varint(9 << 3 | 5) + b"four"
    )
    first = write_bytes(1, b"rgb") + write_bytes(2, bodies[0] + unknown)
    second = write_bytes(2, bodies[1] + bodies[2])  # the value goes on in a second occurrence
    stale = write_bytes(1, write_bytes(1, b"rgb") + write_bytes(2, b""))
    data = unknown + write_bytes(2, stale) + write_bytes(2, write_bytes(1, first + second)) + unknown
    assert (frames_of(_lists(data)["rgb"], "rgb", 4) == frames).all()


def test_frames_of_unequal_lengths_that_fill_as_many_bytes_are_not_read_askew() -> None:
    data = sequence_example({}, {"rgb": [strings(b"1234"), strings(b"123"), strings(b"12345")]}).SerializeToString()
    with pytest.raises(
        BadFeaturesError, match="one string of 4 bytes per frame, found strings of .3. bytes in frame 1"
    ):
        frames_of(_lists(data)["rgb"], "rgb", 4)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([strings(b"12345")], "of 4 bytes per frame, found strings of .5. bytes in frame 0"),
        ([strings(b"1234"), strings(b"1234", b"5678")], "found strings of .4, 4. bytes in frame 1"),
        ([floats(float("nan"), 1.0, 2.0, 3.0)], "found floats in frame 0"),
        ([integers(1, 2, 3, 4)], "found integers in frame 0"),
        ([strings(b"1234"), new("Feature")], "found nothing in frame 1"),
    ],
)
def test_other_features_are_refused_with_their_frame(frames: list[Any], message: str) -> None:
    data = sequence_example({}, {"rgb": frames}).SerializeToString()
    with pytest.raises(BadFeaturesError, match=message):
        frames_of(_lists(data)["rgb"], "rgb", 4)


def test_the_last_kind_of_a_feature_counts() -> None:
    body = write_bytes(2, write_bytes(1, b"\0\0\0\0")) + write_bytes(1, write_bytes(1, b"1234"))
    data = write_bytes(1, body)
    assert frames_of(ListLocation(data, 0, len(data)), "rgb", 4).tobytes() == b"1234"


def test_random_bytes_are_refused_or_empty_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    sound = _example(_frames(3, 8))
    for number in range(300):
        data = bytearray(sound)
        data[rng.integers(len(data))] = rng.integers(256)
        data = bytes(data[: rng.integers(len(data))] if number % 2 else data)
        try:
            parse_context(data, 0, len(data))
            for name, location in _lists(data).items():
                frames_of(location, name, 8)
        except (MalformedMessageError, BadFeaturesError):
            pass


def test_where_the_context_ends() -> None:
    data = encode_video(video_id="a", labels=[1], groups={"rgb": _frames(2, 4)})
    end = context_end(data, 0)
    assert end is not None and parse_context(data[:end], 0, end) == Context("a", (1,))
    assert context_end(write_bytes(2, b""), 0) is None
    assert context_end(b"\x0a", 0) is None


@pytest.mark.parametrize(
    ("groups", "error", "message"),
    [
        ({"rgb": np.zeros((2, 4), np.float32)}, TypeError, "expected uint8"),
        (
            {"rgb": np.zeros((2, 4), np.uint8), "audio": np.zeros((3, 4), np.uint8)},
            ValueError,
            "same number of frames in each",
        ),
    ],
)
def test_only_quantized_frames_are_written(groups: dict[str, np.ndarray], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        encode_video(video_id="a", labels=[], groups=groups)
