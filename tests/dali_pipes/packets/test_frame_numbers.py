from __future__ import annotations

from pathlib import Path

import av
import pytest

from dali_pipes.packets.frame_numbers import FrameNumbers
from dali_pipes.scan.probe import probe
from tests.dali_pipes.streams import RECIPES, make
from tests.dali_pipes.unusual import field_pairs, packets_of, write

H264 = [name for name in RECIPES if name.startswith("h264")]


def gaps(path: Path, *left_out: int) -> list[int]:
    """Packets before which pictures are missing, if these packets are left out."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        numbers = FrameNumbers(bytes(stream.codec_context.extradata or b""))
        data = [bytes(packet) for packet in container.demux(stream) if packet.size]
    return [n for n, one in enumerate(data) if n not in left_out and numbers.are_missing_before(one)]


@pytest.mark.parametrize("name", H264)
def test_a_whole_stream_has_no_gap_and_one_without_a_reference_has_one(name: str, tmp_path: Path) -> None:
    path = make(RECIPES[name], tmp_path)
    assert gaps(path) == []
    first = [gaps(path, number) for number in range(1, RECIPES[name].num_frames - 1)]
    found = [number for number, each in enumerate(first, start=1) if each]
    assert found and all(first[number - 1][0] > number for number in found)


def test_the_two_fields_of_a_frame_have_one_number(tmp_path: Path) -> None:
    assert gaps(field_pairs(tmp_path)) == []


@pytest.mark.parametrize("data", [b"", b"\0\0\1", b"\0\0\1\x67", b"\0\0\1\x67\x64\0\x1e\xff", b"\0\0\1\x65\x88" * 9])
def test_damaged_units_tell_nothing(data: bytes) -> None:
    numbers = FrameNumbers(data)
    assert not numbers.are_missing_before(data) and not numbers.are_missing_before(data + b"\0\0\1\x41")


def test_a_lost_packet_is_damage_though_the_decoder_finds_no_error(tmp_path: Path) -> None:
    source = make(RECIPES["h264 mp4 bt709"], tmp_path, "source")
    packets = packets_of(source)
    damaged = 0
    for number in range(1, len(packets) - 1):
        path = write(tmp_path / "lost.mkv", source, [*packets[:number], *packets[number + 1 :]])
        found = probe(path)
        damaged += found.video_info.health != "ok"
        if "are missing before packet" in found.video_info.health:
            assert f"packet {gaps(path)[0]}" in found.video_info.health and found.packet_index is None
    assert damaged > 10
