"""Sparse decode of real encodes: the pixels of the whole-file decode, or a reason to have no index."""

from __future__ import annotations

import ctypes
import io
import struct
from collections.abc import Iterable
from pathlib import Path

import av
import numpy as np
import pytest

from dali_pipes.decode.pyav import InexactError, Window, decode_frames, decode_packets, packet_of
from dali_pipes.decode.remux import remux
from dali_pipes.packets.index_builder import NotIndexableError, PacketIndexer
from dali_pipes.packets.packet_index import HIDDEN, PacketIndex, read_packets, select, start_distances
from dali_pipes.scan.scan import Probed, probe
from tests.dali_pipes.streams import RECIPES, Recipe, can_make, make

REFUSED = {
    "h264 avi b": "the frames that come out are not the packets in the order of their time stamps",
    "h264 ts": "the bytes of a packet do not lie in one piece",
    "hevc ts": "the bytes of a packet do not lie in one piece",
    "mpeg2 ts": "no index is made for codec mpeg2video",
    "mpeg4 mkv interlaced": "MPEG-4 pictures are interlaced",
    "mpeg4 mp4 interlaced qpel": "MPEG-4 pictures are interlaced",
}
REFUSED_UNDECODED = {
    **REFUSED,
    **dict.fromkeys(("h264 avi b", "mpeg4 avi b"), "the presentation order is unknown without a scan"),
}
# Frames decoded for one wanted frame, on average over all frames, at most; 40 frames with a keyframe every 12.
AMPLIFICATION = {
    "h264 mp4 no b": 6.6,
    "h264 mp4 b": 5.0,
    "h264 mp4 pyramid": 5.0,
    "h264 mp4 slices": 5.0,
    "h264 mkv repeated headers": 5.0,
    "hevc mp4 closed gop": 5.0,
    "hevc mp4 open gop": 5.5,
    "vp9 webm realtime": 6.6,
    "av1 mkv": 6.6,
    "mpeg4 mp4 b": 4.0,
    "mjpeg avi": 1.0,
}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("streams")
    return {name: make(recipe, folder, name.replace(" ", "_")) for name, recipe in RECIPES.items() if can_make(recipe)}


def window_of(found: Probed) -> Window:
    video_info = found.video_info
    return Window((0, 0, video_info.height, video_info.width), video_info.rotation, video_info.width, video_info.height)


def wanted_sets(num_frames: int, num_sets: int = 8) -> Iterable[np.ndarray]:
    rng = np.random.default_rng(num_frames)
    yield np.arange(num_frames)
    for _ in range(num_sets):
        yield rng.integers(0, num_frames, rng.integers(1, 5))  # unsorted, some twice


def sparse(path: Path, index: PacketIndex, wanted_T: np.ndarray, window: Window) -> np.ndarray:
    selection = select(index.packets_P, wanted_T, may_flush=True)
    with path.open("rb") as file:
        return np.stack(decode_packets(index.codec_header, read_packets(file, selection), selection, window))


def remuxed(path: Path, index: PacketIndex, wanted_T: np.ndarray, window: Window) -> np.ndarray:
    selection = select(index.packets_P, wanted_T, may_flush=False)
    with path.open("rb") as file:
        encoded = remux(index.codec_header, read_packets(file, selection), selection)
    return np.stack(decode_frames(io.BytesIO(encoded.tobytes()), selection.rank_T, window))


def assert_exact(path: Path, found: Probed, *, by_dali: bool = True) -> None:
    assert found.packet_index is not None, found.video_info.whole_file
    window = window_of(found)
    whole = np.stack(decode_frames(path, np.arange(found.video_info.num_frames), window))
    for wanted_T in wanted_sets(found.video_info.num_frames):
        assert np.array_equal(sparse(path, found.packet_index, wanted_T, window), whole[wanted_T]), wanted_T
        if by_dali and found.video_info.num_frames == found.video_info.num_packets:  # else DALI does not get it
            assert np.array_equal(remuxed(path, found.packet_index, wanted_T, window), whole[wanted_T]), wanted_T


@pytest.mark.parametrize("name", RECIPES)
def test_pixels_are_those_of_the_whole_file_or_the_index_is_refused(name: str, clips: dict[str, Path]) -> None:
    if name not in clips:
        pytest.skip(f"this PyAV has no encoder {RECIPES[name].encoder}")
    for decode, refused in ((True, REFUSED), (False, REFUSED_UNDECODED)):
        found = probe(clips[name], decode=decode)
        assert found.video_info.health == "ok" and found.video_info.num_frames == RECIPES[name].num_frames
        if name in refused:
            assert found.packet_index is None and refused[name] in found.video_info.whole_file
        else:
            assert_exact(clips[name], found)


@pytest.mark.parametrize("name", AMPLIFICATION)
def test_few_frames_are_decoded_for_a_wanted_one(name: str, clips: dict[str, Path]) -> None:
    if name not in clips:
        pytest.skip(f"this PyAV has no encoder {RECIPES[name].encoder}")
    index = probe(clips[name]).packet_index
    assert index is not None
    sizes = [len(select(index.packets_P, np.array([n]), may_flush=True).number_K) for n in range(len(index.packets_P))]
    assert np.mean(sizes) <= AMPLIFICATION[name], sizes


def test_recipes_are_what_their_names_say(clips: dict[str, Path]) -> None:
    found = {name: probe(path) for name, path in clips.items()}
    for name, pix_fmt in {
        "h264 mp4 10 bit": "yuv420p10le",
        "h264 mp4 444": "yuv444p",
        "vp9 webm 444": "yuv444p",
    }.items():
        assert found[name].video_info.pix_fmt == pix_fmt
    assert found["h264 mp4 bt709"].video_info.matrix == "bt709" and found["h264 mp4 vfr"].video_info.variable_rate
    assert found["h264 mp4 full range"].video_info.pix_fmt == "yuvj420p"
    flags = {name: one.packet_index.packets_P["flags"] for name, one in found.items() if one.packet_index}
    assert (flags["h264 mp4 pyramid"] & 8).sum() < (flags["h264 mp4 b"] & 8).sum() + 12
    for name in ("hevc mp4 open gop", "mpeg4 mp4 b"):
        assert (flags[name] & 2).any() and (flags[name] & 4).any(), name  # OPEN_START, LEADING
    for name in ("h264 mp4 one keyframe", "h264 mp4 intra refresh"):
        assert start_distances(found[name].packet_index.packets_P) == [40], name
    assert start_distances(found["mjpeg avi"].packet_index.packets_P) == [1] * 24


def _shift_edit_list(path: Path, num_frames: int) -> Path:
    """Let the mp4's edit list begin so many frames later; they are then decoded but not shown."""
    data = bytearray(path.read_bytes())
    location = data.index(b"elst") + 4 + 4 + 4 + 4  # version and flags, count, duration
    (media_time,) = struct.unpack_from(">i", data, location)
    struct.pack_into(">i", data, location, media_time + num_frames * 512)  # of 1/12800 s
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", ["h264 mp4 pyramid", "hevc mp4 open gop"])
@pytest.mark.parametrize("num_hidden", [1, 5, 11])
def test_frames_before_an_edit_list_are_decoded_and_not_shown(name: str, num_hidden: int, tmp_path: Path) -> None:
    path = _shift_edit_list(make(RECIPES[name], tmp_path), num_hidden)
    for decode in (True, False):
        found = probe(path, decode=decode)
        assert found.packet_index is not None, found.video_info.whole_file
        assert 0 < (found.packet_index.packets_P["flags"] & HIDDEN != 0).sum() <= num_hidden
        assert found.video_info.num_frames < 40
        assert_exact(path, found)


def test_the_decoder_learns_the_codec_tag_which_matroska_does_not_keep(tmp_path: Path) -> None:
    """FFmpeg decodes MPEG-4 with Xvid's inverse DCT where the tag says XVID."""
    path = make(RECIPES["mpeg4 avi no b"], tmp_path)
    plain = np.stack(decode_frames(path, np.arange(40), window_of(probe(path))))
    path.write_bytes(path.read_bytes().replace(b"FMP4", b"XVID").replace(b"Lavc", b"Nobo"))
    found = probe(path)
    assert (np.stack(decode_frames(path, np.arange(40), window_of(found))) != plain).any()
    assert_exact(path, found, by_dali=False)  # which reads no tags


def _join(first: Path, second: Path, path: Path) -> Path:
    """The packets of two files one after the other, as a stream of the first's kind."""
    with av.open(str(path), "w") as out:
        stream = None
        start = 0
        for part in (first, second):
            with av.open(str(part)) as container:
                stream = stream or out.add_stream_from_template(container.streams.video[0], opaque=True)
                for packet in container.demux(video=0):
                    if packet.size:
                        copy = packet_of(bytes(packet))
                        copy.pts, copy.dts, copy.time_base = packet.pts + start, packet.dts + start, packet.time_base
                        copy.stream, copy.is_keyframe = stream, packet.is_keyframe
                        out.mux(copy)
            start += 10_000
    return path


@pytest.mark.parametrize(
    ("encoder", "options", "other"),
    [
        ("libx264", {"preset": "veryfast", "x264-params": "repeat-headers=1:bframes=0"}, {"profile": "baseline"}),
        ("mpeg4", {"qscale": "5"}, {"flags": "+qpel"}),
    ],
)
def test_settings_that_change_are_refused(
    encoder: str, options: dict[str, str], other: dict[str, str], tmp_path: Path
) -> None:
    suffix = ".mkv" if encoder == "libx264" else ".avi"  # both keep the settings in the packets
    kind = Recipe(suffix, encoder, {**options, "threads": "1", "g": "12"}, num_frames=12)
    parts = [make(kind, tmp_path, "one"), make(kind._replace(options={**kind.options, **other}), tmp_path, "two")]
    for path, refused in ((parts[:1] * 2, False), (parts, True)):
        found = probe(_join(path[0], path[1], tmp_path / f"joined{refused}.mkv"), decode=False)
        assert (found.packet_index is None) == refused, found.video_info.whole_file
        assert not refused or "settings change at packet 12" in found.video_info.whole_file


def test_old_x264_444_is_refused(tmp_path: Path) -> None:
    """FFmpeg decodes it in another way, if it has seen the first packet."""
    path = make(RECIPES["h264 mp4 444"], tmp_path)
    data = path.read_bytes()
    location = data.index(b"x264 - core ") + 12
    path.write_bytes(data[:location] + b"148" + data[location + 3 :])
    assert "concealed errors" in probe(path).video_info.health  # so it matters
    with av.open(str(path)) as container, path.open("rb") as file:
        indexer = PacketIndexer(container.streams.video[0], "h264")
        for packet in container.demux(video=0):
            if packet.size:
                indexer.add(packet)
        with pytest.raises(NotIndexableError, match=r"it is 4:4:4 of an old x264 \(packet 0\)"):
            indexer.finish(file, None)


def test_a_strict_decoder_refuses_damaged_packets_rather_than_paint_over(tmp_path: Path) -> None:
    path = make(RECIPES["h264 mp4 no b"], tmp_path)
    found = probe(path)
    assert found.packet_index is not None
    selection = select(found.packet_index.packets_P, np.array([3]), may_flush=True)
    with path.open("rb") as file:
        payloads = read_packets(file, selection)
    payloads[1] = payloads[1][:20] + bytes(len(payloads[1]) - 20)
    with pytest.raises(InexactError, match="do not decode|frame is corrupt"):
        decode_packets(found.packet_index.codec_header, payloads, selection, window_of(found))


def test_a_packet_has_zeros_behind_it() -> None:
    """Decoders read up to 64 bytes past the end; what lay behind the bytes in memory changed pictures."""
    data = bytes(range(1, 101))
    packet = packet_of(data)
    assert bytes(packet) == data
    behind = (packet.buffer_ptr + packet.buffer_size, 64)
    assert ctypes.string_at(*behind) == bytes(64)
