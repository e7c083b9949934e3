"""Each refusal by its reason, and what an index holds. Packets are those of a real file, changed one by one."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest

from dali_pipes.packets.index_builder import NotIndexableError, PacketIndexer, make_codec_header
from dali_pipes.packets.packet_index import HIDDEN, PacketIndex, checksum
from dali_pipes.packets.picture_types import DISPOSABLE, START
from tests.dali_pipes.streams import RECIPES, make


@dataclass(frozen=True)
class Packet:
    """What of an av.Packet is looked at."""

    data: bytes
    pos: int | None
    pts: int | None
    is_discard: bool = False
    is_corrupt: bool = False
    new_settings: bool = False

    def iter_sidedata(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(data_type="new_extradata")] if self.new_settings else []

    def __bytes__(self) -> bytes:
        return self.data


Change = Callable[[list[Packet]], list[Packet]]


class Video:
    def __init__(self, path: Path) -> None:
        self.container = av.open(str(path))
        self.stream = self.container.streams.video[0]
        self.codec = self.stream.codec_context.codec.canonical_name
        self.content = path.read_bytes()
        demuxed = [packet for packet in self.container.demux(self.stream) if packet.size]
        self.packets = [Packet(bytes(one), one.pos, one.pts) for one in demuxed]

    def index(self, change: Change = lambda packets: packets, *, decoded: bool = True, **changes: Any) -> PacketIndex:
        packets = change(self.packets)
        indexer = PacketIndexer(changes.get("stream", self.stream), changes.get("codec", self.codec))
        for packet in packets:
            indexer.add(packet)  # type: ignore[arg-type]
        shown = sorted(one.pts for one in packets if one.pts is not None and not one.is_discard)
        frame_pts = changes.get("frame_pts", shown) if decoded else None
        content = io.BytesIO(changes.get("content", self.content))
        return indexer.finish(content, frame_pts, interlaced=changes.get("interlaced", False))


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Video]:
    made = Video(make(RECIPES["h264 mp4 b"], tmp_path_factory.mktemp("video")))
    yield made
    made.container.close()


@pytest.fixture(scope="module")
def mpeg4(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Video]:
    made = Video(make(RECIPES["mpeg4 mp4 b"], tmp_path_factory.mktemp("mpeg4")))
    yield made
    made.container.close()


def changed(offset: int, **changes: Any) -> Change:
    return lambda packets: [replace(one, **changes) if n == offset else one for n, one in enumerate(packets)]


def test_an_index_says_where_packets_lie_and_what_they_are(video: Video) -> None:
    for decoded in (True, False):
        packets_P = video.index(decoded=decoded).packets_P
        sizes = packets_P["size"].astype(int)
        ends = np.cumsum(packets_P["gap"] + sizes)
        for one, end, size, check in zip(video.packets, ends, sizes, packets_P["checksum"], strict=True):
            assert video.content[end - size : end] == one.data and checksum(one.data) == check
        order = np.argsort([one.pts for one in video.packets])
        assert (np.argsort(np.arange(40) + packets_P["shift"]) == order).all()
        assert packets_P["flags"][0] == START and (packets_P["flags"] & DISPOSABLE).any()


def test_equal_streams_have_equal_stubs(video: Video, tmp_path: Path) -> None:
    other = Video(make(RECIPES["h264 mp4 b"], tmp_path))
    assert (
        make_codec_header(other.stream) == make_codec_header(video.stream)
        and len(make_codec_header(video.stream)) < 1000
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (changed(7, pts=None), "packet 7 has no time stamp"),
        (changed(7, pos=None), "packet 7 has no position"),
        (changed(7, is_corrupt=True), "packet 7 is corrupt"),
        (changed(7, new_settings=True), "the decoder's settings change at packet 7"),
        (lambda packets: changed(7, pts=packets[3].pts)(packets), "two packets have the same time stamp"),
        (lambda packets: packets[1:], "decoding cannot start at the first packet"),
        (
            lambda packets: changed(7, data=packets[7].data + b"x")(packets),
            r"its pictures cannot be found in its packets \(packet 7\)",
        ),
        (lambda packets: changed(0, data=packets[1].data)(packets), "decoding cannot start at the first packet"),
        (lambda packets: [], "there is no packet"),
        (lambda packets: changed(7, pos=packets[7].pos + 1)(packets), "do not lie in one piece"),
    ],
)
def test_each_refusal_has_its_reason(video: Video, change: Change, reason: str) -> None:
    with pytest.raises(NotIndexableError, match=reason):
        video.index(change)


def test_frames_that_are_not_the_packets_in_order_are_refused(video: Video) -> None:
    pts = sorted(one.pts for one in video.packets)
    for frame_pts in (pts[:-1], [*pts[:5], pts[6], pts[5], *pts[7:]], [*pts[:-1], None]):
        with pytest.raises(NotIndexableError, match="not the packets in the order of their time stamps"):
            video.index(frame_pts=frame_pts)


def test_settings_in_the_packets_may_repeat_the_header_and_nothing_else(video: Video) -> None:
    extradata = video.stream.codec_context.extradata
    size = int.from_bytes(extradata[6:8], "big")
    sps = extradata[8 : 8 + size]

    def with_unit(unit: bytes, *offsets: int) -> Change:
        prefix = len(unit).to_bytes(4, "big") + unit
        return lambda packets: [
            replace(one, data=prefix + one.data) if n in offsets else one for n, one in enumerate(packets)
        ]

    lying = {"decoded": False, "content": b""}  # the bytes are not those of the file: it is found out last
    for change in (with_unit(sps, 0), with_unit(sps, 5), with_unit(sps + b"\0", 5)):
        with pytest.raises(NotIndexableError, match="in one piece"):
            video.index(change, **lying)
    starts = np.flatnonzero(video.index().packets_P["flags"] & START).tolist()
    other = sps[:-1] + bytes([sps[-1] ^ 8])
    with pytest.raises(NotIndexableError, match="in one piece"):
        video.index(with_unit(other, *starts), **lying)  # the same at every start
    for unit, offsets, number in (
        (other, [5], 5),
        (other, [0], starts[1]),
        (sps[:-2], [0], starts[1]),  # part of the header's bytes, but not the same
        (other, [*starts, 5], 5),
        (other, starts[1:], starts[1]),
    ):
        with pytest.raises(NotIndexableError, match=f"settings change at packet {number}"):
            video.index(with_unit(unit, *offsets), **lying)


def test_hidden_packets_are_marked_and_need_no_frame(video: Video) -> None:
    hidden = {one.pts for one in sorted(video.packets, key=lambda one: one.pts or 0)[:3]}
    packets_P = video.index(lambda packets: [replace(one, is_discard=one.pts in hidden) for one in packets]).packets_P
    assert (packets_P["flags"] & HIDDEN != 0).sum() == 3


def test_an_unknown_codec_is_refused(video: Video) -> None:
    with pytest.raises(NotIndexableError, match="no index is made for codec mpeg2video"):
        video.index(codec="mpeg2video")


def test_packed_pictures_are_refused(mpeg4: Video) -> None:
    with pytest.raises(NotIndexableError, match=r"packed: two pictures in one packet \(packet 4\)"):
        mpeg4.index(lambda packets: changed(4, data=packets[4].data + packets[5].data)(packets))


def test_interlaced_pictures_are_refused_in_mpeg4_alone(video: Video, mpeg4: Video) -> None:
    for decoded in (True, False):
        with pytest.raises(NotIndexableError, match="MPEG-4 pictures are interlaced"):
            mpeg4.index(decoded=decoded, interlaced=True)
    assert len(video.index(interlaced=True).packets_P) == len(video.packets)


def test_a_picture_that_others_refer_to_cannot_be_a_leading_one(mpeg4: Video) -> None:
    """A wrong time stamp of a hidden packet, which no frame contradicts."""
    first = min(one.pts for one in mpeg4.packets)
    with pytest.raises(NotIndexableError, match="a picture before one that it refers to"):
        mpeg4.index(changed(1, pts=first - 1000, is_discard=True))


def test_without_a_decode_impossible_orders_are_refused(video: Video, mpeg4: Video) -> None:
    dts_only: Change = lambda packets: [replace(one, pts=n * 512) for n, one in enumerate(packets)]  # noqa: E731
    for one in (video, mpeg4):
        with pytest.raises(NotIndexableError, match="the presentation order is unknown without a scan"):
            one.index(dts_only, decoded=False)
    late = max(one.pts for one in video.packets) + 1000
    with pytest.raises(NotIndexableError, match="the presentation order is unknown without a scan"):
        video.index(changed(4, pts=late), decoded=False)  # shown after a later keyframe


def test_without_a_decode_some_packets_are_looked_at(video: Video) -> None:
    content = bytearray(video.content)
    one = video.packets[5]
    assert one.pos is not None
    content[one.pos] ^= 255
    with pytest.raises(NotIndexableError, match="in one piece"):
        video.index(decoded=False, content=bytes(content))
