"""Packets of a file in which a further stream appears on the way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dali_pipes.decode.demux import packets_of
from dali_pipes.decode.pyav import open_video, open_video_stream
from dali_pipes.scan.probe import probe
from tests.conftest import numbered_clip

_PACKET = 188  # bytes of a packet of MPEG-TS
_UNKNOWN_PID = 0x1F0


def write_late_stream(path: Path) -> Path:
    """An MPEG-TS file in whose second half some pictures claim to be of another stream."""
    numbered_clip(path, "libx264", 40)
    content = bytearray(path.read_bytes())
    starts = [at for at in range(0, len(content), _PACKET) if content[at + 1] & 0x40]  # a new picture begins
    for at in starts[len(starts) // 2 :: 2]:
        content[at + 1 : at + 3] = (0x4000 | _UNKNOWN_PID).to_bytes(2, "big")
    path.write_bytes(content)
    return path


@pytest.fixture
def late_stream(tmp_path: Path) -> Path:
    return write_late_stream(tmp_path / "a.ts")


def test_a_stream_that_appears_on_the_way_is_passed_over(late_stream: Path) -> None:
    with open_video(late_stream) as container:
        packets = list(packets_of(container, open_video_stream(container)))
    assert len(packets) > 20 and packets[-1].size == 0  # the last one flushes the decoder


def test_the_error_of_pyav_s_demuxer_is_the_end() -> None:
    """It depends on uninitialized memory, so no file brings it about each time."""

    class Container:
        def demux(self, stream: Any) -> Iterator[int]:
            yield from (1, 2)
            raise IndexError("list index out of range")

    assert list(packets_of(Container(), None)) == [1, 2]  # type: ignore[arg-type,comparison-overlap]


def test_the_scan_reads_such_a_file(late_stream: Path) -> None:
    assert probe(late_stream).video_info.usable
