"""Which of several streams is read: the same by every reader, however much of the file it looks at on opening."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition

from dali_pipes.decode.pyav import Window, decode_frames, open_video, open_video_stream
from dali_pipes.loader.whole_video import read_frame_times
from dali_pipes.scan.probe import probe
from dali_pipes.scan.summary import describe_pictures
from dali_pipes.transcode.encode import OutputSettings, reencode
from tests.dali_pipes.shown_pictures import Storing, prepare, write_frames

SMALL, LARGE = Storing(64, 80), Storing(96, 128)
NONE, DEFAULT = Disposition(0), Disposition.default


def write_streams(
    path: Path,
    storings: Sequence[Storing],
    marks: Sequence[Disposition] | None = None,
    *,
    encoder: str = "mpeg4",
    options: dict[str, str] | None = None,
) -> Path:
    """A video of several streams, the n-th of 4 + n pictures.

    Args:
        options: of the container.
    """
    with av.open(str(path), "w", options=options or {}) as container:
        streams: list[Any] = [prepare(container.add_stream(encoder, rate=25), storing) for storing in storings]
        for stream, mark in zip(streams, marks or (), strict=False):
            stream.disposition = mark
        for number, (stream, storing) in enumerate(zip(streams, storings, strict=True)):
            write_frames(container, stream, storing, num_frames=4 + number)
    return path


@pytest.mark.parametrize(
    ("name", "encoder", "storings", "marks", "expected"),
    [
        ("a.mkv", "mpeg4", (SMALL, LARGE), (NONE, NONE), 1),  # the largest
        ("a.mkv", "mpeg4", (LARGE, SMALL, LARGE), (NONE, NONE, NONE), 0),  # of two, the first
        ("a.mkv", "mpeg4", (SMALL, LARGE), (DEFAULT, NONE), 0),
        ("a.mkv", "mpeg4", (LARGE, SMALL), (NONE, DEFAULT), 1),
        ("a.mov", "mpeg4", (SMALL, LARGE), (NONE, DEFAULT), 1),
        ("a.avi", "mpeg4", (SMALL, LARGE), None, 1),
        ("a.avi", "mpeg4", (LARGE, SMALL), None, 0),
        ("a.asf", "mpeg4", (SMALL, LARGE), None, 1),
        ("a.ts", "libx264", (SMALL, LARGE), None, 1),
        ("a.ts", "libx264", (LARGE, SMALL), None, 0),
        ("a.mpg", "mpeg2video", (SMALL, LARGE), None, 1),
        ("a.flv", "libx264", (SMALL, LARGE), None, 1),
        ("a.nut", "mpeg4", (SMALL, LARGE), None, 1),
    ],
)
def test_every_reader_takes_the_same_stream(
    name: str,
    encoder: str,
    storings: Sequence[Storing],
    marks: Sequence[Disposition] | None,
    expected: int,
    tmp_path: Path,
) -> None:
    path = write_streams(tmp_path / name, storings, marks, encoder=encoder)
    size, num_frames = storings[expected][:2], 4 + expected
    found = [probe(path, decode=decode).video_info for decode in (True, False)]
    for one in found:
        assert (one.health, one.stream, one.num_video_streams) == ("ok", expected, len(storings))
        assert (one.height, one.width, one.num_frames) == (*size, num_frames)
    with open_video(path) as container:
        assert open_video_stream(container).index == expected
    window = Window((0, 0, *size), 0, size[1], size[0])
    (frame,) = decode_frames(path, np.array([num_frames - 1]), window, stream=found[0].stream)
    assert np.abs(frame.astype(int) - storings[expected].stored()).mean() < 12
    assert len(read_frame_times(path, num_frames, stream=found[0].stream).begin_M) == num_frames
    reencode(path, tmp_path / "out.mp4", OutputSettings())
    written = probe(tmp_path / "out.mp4").video_info
    assert (written.num_frames, written.height, written.width) == (num_frames, *size)
    assert describe_pictures(found) == ["2 have several video streams"]


def write_programs(path: Path, storings: Sequence[Storing]) -> Path:
    """A transport stream of two programs, as a broadcast, with a stream each; both have 4 pictures."""
    parts = []
    for number, storing in enumerate(storings, start=1):
        pids = {"mpegts_service_id": number, "mpegts_pmt_start_pid": 0x100 * number, "mpegts_start_pid": 0x500 * number}
        options = {key: str(value) for key, value in pids.items()}
        part = write_streams(
            path.with_name(f"{number}.ts"), (storing,), encoder="libx264", options=options
        ).read_bytes()
        parts.append([part[at : at + 188] for at in range(0, len(part), 188)])
    programs = b"".join(struct.pack(">HH", number, 0xE000 | 0x100 * number) for number in (1, 2))
    section = bytes([0, 0xB0, 9 + len(programs), 0, 1, 0xC1, 0, 0]) + programs
    section += struct.pack(">I", _crc_of_mpeg(section))
    one, other = parts
    changed = [_with_section(packet, section) if _pid(packet) == 0 else packet for packet in one]
    path.write_bytes(b"".join([*changed, *(packet for packet in other if _pid(packet) > 0x20)]))
    return path


def _pid(packet: bytes) -> int:
    return int.from_bytes(packet[1:3], "big") & 0x1FFF


def _with_section(packet: bytes, section: bytes) -> bytes:
    return (packet[:4] + b"\0" + section).ljust(188, b"\xff")


def _crc_of_mpeg(data: bytes) -> int:
    """CRC-32 of ISO/IEC 13818-1, annex A: the highest bit first, without a last exclusive or."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1) ^ (0x04C11DB7 if crc & 0x80000000 else 0)
            crc &= 0xFFFFFFFF
    return crc


@pytest.mark.parametrize(("storings", "expected"), [((SMALL, LARGE), 1), ((LARGE, SMALL), 0), ((SMALL, SMALL), 0)])
def test_of_two_programs_every_reader_takes_the_same_stream(
    storings: Sequence[Storing], expected: int, tmp_path: Path
) -> None:
    path = write_programs(tmp_path / "a.ts", storings)
    size = storings[expected][:2]
    with open_video(path) as container:
        assert len(container.streams.video) == 2
        assert open_video_stream(container).index == expected
    for decode in (True, False):
        found = probe(path, decode=decode).video_info
        assert (found.health, found.stream, found.num_video_streams) == ("ok", expected, 2)
        assert (found.height, found.width, found.num_frames) == (*size, 4)
    window = Window((0, 0, *size), 0, size[1], size[0])
    for number in range(4):
        (frame,) = decode_frames(path, np.array([number]), window, stream=expected)
        assert np.abs(frame.astype(int) - storings[expected].stored()).mean() < 12
    assert len(read_frame_times(path, 4, stream=expected).begin_M) == 4


def test_a_cover_is_not_read_however_large(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        streams: dict[str, Any] = {
            "film": container.add_stream("mpeg4", rate=25),
            "cover": container.add_stream("png", rate=25),
        }
        prepare(streams["film"], SMALL)
        streams["cover"].height, streams["cover"].width, streams["cover"].pix_fmt = 400, 500, "rgb24"
        streams["cover"].disposition = Disposition.attached_pic
        picture = av.VideoFrame.from_ndarray(Storing(400, 500).stored(), format="rgb24")
        container.mux(streams["cover"].encode(picture))
        container.mux(streams["cover"].encode(None))
        write_frames(container, streams["film"], SMALL, num_frames=4)
    for decode in (True, False):
        found = probe(path, decode=decode).video_info
        assert (found.health, found.codec, found.num_frames, found.width) == ("ok", "mpeg4", 4, 80)
        assert (found.stream, found.num_video_streams) == (0, 2)


def test_a_stream_that_no_decoder_knows_is_passed_over(tmp_path: Path) -> None:
    path = write_streams(tmp_path / "a.avi", (LARGE, SMALL))
    content = path.read_bytes()
    unknown = content.replace(b"FMP4", b"ZZZZ", 2)  # of the first stream: in its header and in its format
    path.write_bytes(unknown)
    found = [probe(path, decode=decode).video_info for decode in (True, False)]
    assert [(one.health, one.stream, one.num_frames) for one in found] == [("ok", 1, 5)] * 2
    path.write_bytes(content.replace(b"FMP4", b"ZZZZ"))
    assert probe(path).video_info.health == "bad: does not open: no decoder for the video stream"


def test_a_file_whose_streams_changed_after_the_scan_is_refused(tmp_path: Path) -> None:
    path = write_streams(tmp_path / "a.avi", (SMALL,))
    with pytest.raises(ValueError, match="expected a video as stream 1, found 1 streams; scan the file again"):
        decode_frames(path, np.array([0]), Window((0, 0, 64, 80), 0, 80, 64), stream=1)
