"""Mp4 files whose edit list leaves out whole groups of pictures, repeats some, or that are cut, or both."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import av
import pytest

from dali_pipes.scan.probe import probe, probe_bytes
from dali_pipes.video_info import Stamp
from tests.dali_pipes.decode.test_pyav_sparse import assert_exact
from tests.dali_pipes.streams import RECIPES, make

RATE = 25
# (frames, first frame) of each edit; the videos have 40 frames and a keyframe every 12.
EDITS = {
    "middle": [(14, 13)],
    "whole groups": [(12, 12)],
    "head": [(14, 0)],
    "tail": [(10, 30)],
    "two parts": [(12, 0), (12, 26)],
    "one part twice": [(30, 5), (30, 5)],
    "a part twice, the end never": [(20, 0), (20, 0)],
}
NAMES = ["h264 mp4 no b", "h264 mp4 pyramid", "h264 mp4 open gop", "hevc mp4 open gop", "vp9 mp4"]


def with_edits(path: Path, edits: Sequence[tuple[int, int]]) -> Path:
    """The same mp4 with another edit list, its table of packets in front: a cut file still opens."""
    with av.open(str(path)) as source, av.open(str(path.with_name("front.mp4")), "w", options=FRONT) as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.size:
                packet.stream = copy
                target.mux(packet)
    data = bytearray(path.with_name("front.mp4").read_bytes())
    location = data.index(b"elst") - 4
    (size,) = struct.unpack_from(">I", data, location)
    (start,) = struct.unpack_from(">i", data, location + 20)
    ticks, media_ticks = (struct.unpack_from(">I", data, data.index(box) + 16)[0] for box in (b"mvhd", b"mdhd"))
    table = struct.pack(">4sII", b"elst", 0, len(edits))
    for num_frames, first in edits:
        table += struct.pack(">IiI", num_frames * ticks // RATE, start + first * media_ticks // RATE, 1 << 16)
    grown = 4 + len(table) - size
    data[location : location + size] = struct.pack(">I", 4 + len(table)) + table
    for box in (b"moov", b"trak", b"edts"):
        _add(data, data.index(box) - 4, grown)
    offsets = data.index(b"stco") + 8
    for number in range(struct.unpack_from(">I", data, offsets)[0]):
        _add(data, offsets + 4 + 4 * number, grown)
    path.write_bytes(data)
    return path


FRONT = {"movflags": "faststart"}


def _add(data: bytearray, location: int, number: int) -> None:
    struct.pack_into(">I", data, location, struct.unpack_from(">I", data, location)[0] + number)


def locations_of_packets(path: Path) -> list[int]:
    """Where each packet of the file begins, whether it is shown or not."""
    with av.open(str(path), options={"ignore_editlist": "1"}) as container:
        return [packet.pos for packet in container.demux(video=0) if packet.size and packet.pos is not None]


@pytest.mark.parametrize("edits", EDITS)
@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_lacks_only_what_its_edit_list_leaves_out_is_sound(name: str, edits: str, tmp_path: Path) -> None:
    path = with_edits(make(RECIPES[name], tmp_path), EDITS[edits])
    for decode in (True, False):
        found = probe(path, decode=decode)
        assert found.video_info.health == "ok"
        assert found.video_info.num_frames == sum(num_frames for num_frames, _ in EDITS[edits])
        if found.packet_index is not None:
            assert_exact(path, found)


@pytest.mark.parametrize("name", ["h264 mp4 no b", "h264 mp4 pyramid"])
def test_the_packets_that_a_clip_needs_are_known_in_spite_of_an_edit_list(name: str, tmp_path: Path) -> None:
    assert probe(with_edits(make(RECIPES[name], tmp_path), EDITS["middle"])).packet_index is not None


@pytest.mark.parametrize("edits", [None, *EDITS])
def test_a_cut_file_is_never_sound_whatever_its_edit_list_leaves_out(edits: str | None, tmp_path: Path) -> None:
    path = make(RECIPES["h264 mp4 pyramid"], tmp_path)
    data = with_edits(path, EDITS[edits] if edits else [(40, 0)]).read_bytes()
    locations = locations_of_packets(path)
    assert len(locations) == 40
    for end in [*locations[3::4], locations[-1], locations[-1] + 1, len(data) - 1]:
        path.write_bytes(data[:end])
        assert probe(path).video_info.health.startswith(("cut: ", "bad: ")), end


def test_a_last_packet_that_is_cut_is_noticed_though_it_decodes_and_is_not_shown(tmp_path: Path) -> None:
    path = with_edits(make(RECIPES["mpeg4 mp4 b"], tmp_path), [(27, 6)])
    assert probe(path).video_info.health == "ok"
    path.write_bytes(path.read_bytes()[:-1])
    assert probe(path).video_info.health.startswith("cut: ")


def test_damage_in_what_is_shown_is_found_in_spite_of_an_edit_list(tmp_path: Path) -> None:
    path = with_edits(make(RECIPES["h264 mp4 no b"], tmp_path), EDITS["middle"])
    data, locations = bytearray(path.read_bytes()), locations_of_packets(path)
    data[locations[20] : locations[22]] = bytes(locations[22] - locations[20])
    path.write_bytes(data)
    assert probe(path).video_info.health.startswith("cut: ")


def test_a_video_in_memory_is_judged_like_a_file(tmp_path: Path) -> None:
    path = with_edits(make(RECIPES["h264 mp4 no b"], tmp_path), EDITS["whole groups"])

    def health(num_bytes: int) -> str:
        with path.open("rb") as file:
            content = file.read(num_bytes)
        found = probe_bytes(BytesIO(content), Stamp(num_bytes, 0), decode=True, start=0)
        return found.video_info.health

    assert health(path.stat().st_size) == "ok"
    assert health(path.stat().st_size - 1).startswith("cut: 12 frames, but the header says 40")
