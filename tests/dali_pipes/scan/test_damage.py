"""Sound files that counts misjudge are sound in both kinds of scan and in transcode; damaged ones are named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from dali_pipes.decode.pyav import Window, decode_frames, frames_of, open_video, open_video_stream
from dali_pipes.scan.probe import Probed, probe
from dali_pipes.transcode.encode import OutputSettings, reencode
from tests.dali_pipes.decode.test_pyav_sparse import assert_exact
from tests.dali_pipes.scan.test_probe_edit_lists import EDITS, with_edits
from tests.dali_pipes.streams import RECIPES, make
from tests.dali_pipes.unusual import (
    DROPPED,
    NOT_CODED,
    cut_start,
    field_pairs,
    packed,
    packets_of,
    patched,
    with_drops,
    write,
)

PACKED = "packed: two pictures in one packet"
EMPTY = "it has packets without a picture, for dropped or hidden frames"
EARLY = "it starts with pictures that refer to ones before the file"

Make = Callable[[Path], Path]


def fragmented(folder: Path) -> Path:
    source = make(RECIPES["h264 mp4 b"], folder, "source")
    return write(folder / "clip.mp4", source, packets_of(source), movflags="frag_keyframe+empty_moov")


def live(folder: Path) -> Path:
    source = make(RECIPES["h264 mkv"], folder, "source")
    return write(folder / "clip.mkv", source, packets_of(source), live="1")


def length_of(name: str, change: int) -> Make:
    """An AVI whose header's number of frames is wrong by ``change``."""
    return lambda folder: patched(make(RECIPES[name], folder), b"strh", 40, lambda number: number + change)


def without_duration(folder: Path) -> Path:
    return patched(make(RECIPES["h264 mp4 b"], folder), b"mdhd", 20, lambda number: 0)


def with_tail(name: str, tail: bytes) -> Make:
    def made(folder: Path) -> Path:
        path = make(RECIPES[name], folder)
        path.write_bytes(path.read_bytes() + tail)
        return path

    return made


RANDOM = np.random.default_rng(3).bytes(5000)
# Frames of FFmpeg's own decode, and what a clip's reading of the whole file is said to be for ("": not checked).
SOUND: dict[str, tuple[Make, int, str]] = {
    "packed, not coded": (lambda folder: packed(folder, NOT_CODED), 40, PACKED),
    "packed, stuffing": (lambda folder: packed(folder, DROPPED), 40, PACKED),
    "packed, zero": (lambda folder: packed(folder, b"\0"), 40, PACKED),
    "empty chunks mpeg4": (lambda folder: with_drops(folder, "mpeg4 avi no b", b""), 40, ""),
    "empty chunks mjpeg": (lambda folder: with_drops(folder, "mjpeg avi", b""), 24, ""),
    "empty chunks h264": (lambda folder: with_drops(folder, "h264 avi no b", b""), 40, ""),
    "not coded": (lambda folder: with_drops(folder, "mpeg4 avi no b", NOT_CODED), 40, EMPTY),
    "open gop hevc": (lambda folder: cut_start(folder, "hevc mp4 open gop", 12), 16, EARLY),
    "open gop hevc mkv": (lambda folder: cut_start(folder, "hevc mkv", 12), 16, EARLY),
    "open gop mpeg2": (lambda folder: cut_start(folder, "mpeg2 ts", 12), 16, EARLY),
    "between keyframes h264 mp4": (lambda folder: cut_start(folder, "h264 mp4 open gop", 5), 28, EARLY),
    "between keyframes h264 mkv": (lambda folder: cut_start(folder, "h264 mkv", 5), 28, EARLY),
    "between keyframes h264 ts": (lambda folder: cut_start(folder, "h264 ts", 5), 28, EARLY),
    "between keyframes hevc ts": (lambda folder: cut_start(folder, "hevc ts", 5), 28, EARLY),
    "between keyframes mpeg2 ts": (lambda folder: cut_start(folder, "mpeg2 ts", 5), 28, EARLY),
    "between keyframes mpeg4": (lambda folder: cut_start(folder, "mpeg4 avi no b", 5), 35, EARLY),
    "between keyframes vp8": (lambda folder: cut_start(folder, "vp8 webm", 5), 28, EARLY),
    "between keyframes vp9": (lambda folder: cut_start(folder, "vp9 webm good", 5), 24, EARLY),
    "header says fewer": (length_of("mpeg4 avi no b", -5), 40, ""),
    "header says more": (length_of("mpeg4 avi no b", 5), 40, ""),
    "header says many more": (length_of("mpeg4 avi b", 1000), 40, ""),
    "header says more, mjpeg": (length_of("mjpeg avi", 7), 24, ""),
    "no duration": (without_duration, 40, ""),
    "fragmented": (fragmented, 40, ""),
    "live": (live, 40, ""),
    "zeros behind avi": (with_tail("mpeg4 avi no b", bytes(5000)), 40, ""),
    "zeros behind flv": (with_tail("h264 flv", bytes(5000)), 40, ""),
    "zeros behind mp4": (with_tail("h264 mp4 b", bytes(5000)), 40, ""),
    "garbage behind avi": (with_tail("mpeg4 avi no b", RANDOM), 40, ""),
    "garbage behind mkv": (with_tail("h264 mkv", RANDOM), 40, ""),
    "garbage behind mp4": (with_tail("h264 mp4 b", RANDOM), 40, ""),
    "garbage behind webm": (with_tail("vp9 webm good", RANDOM), 40, ""),
    "field pairs": (field_pairs, 12, "the two fields of a frame have a packet each"),
}


def judged(path: Path, *, decode: bool = True) -> Probed:
    return probe(path, decode=decode)


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_file_is_sound_in_both_scans_and_has_the_frames_of_ffmpeg(name: str, tmp_path: Path) -> None:
    made, num_frames, reason = SOUND[name]
    path = made(tmp_path)
    found = judged(path)
    assert (found.video_info.health, found.video_info.num_frames) == ("ok", num_frames)
    assert not reason or found.video_info.whole_file == reason
    with open_video(path) as container:
        stream = open_video_stream(container)
        assert sum(1 for _ in frames_of(container.demux(stream))) == num_frames
    quick = judged(path, decode=False)
    assert quick.video_info.health == "ok"
    assert not reason or (quick.video_info.num_frames, quick.video_info.whole_file) == (num_frames, reason)
    for one in (found, quick):
        if one.packet_index is not None:
            assert_exact(path, one)
    info = found.video_info
    window = Window((0, 0, info.height, info.width), 0, info.width, info.height)
    assert len(decode_frames(path, np.array([0, num_frames - 1]), window)) == 2


CUT: dict[str, tuple[str, float]] = {
    "avi": ("mpeg4 avi no b", 0.7),
    "avi, in its last packet": ("mjpeg avi", 0.93),
    "mkv": ("h264 mkv", 0.7),
    "webm": ("vp9 webm good", 0.6),
    "flv": ("h264 flv", 0.7),
    "ts": ("mpeg2 ts", 0.7),
}


@pytest.mark.parametrize("decode", [True, False])
@pytest.mark.parametrize("name", CUT)
def test_a_file_that_ends_too_early_is_cut_in_both_scans(name: str, decode: bool, tmp_path: Path) -> None:
    recipe, share = CUT[name]
    path = make(RECIPES[recipe], tmp_path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    found = judged(path, decode=decode).video_info
    assert found.health.startswith("cut: ") and 0 < found.num_frames < RECIPES[recipe].num_frames


def test_a_fragmented_file_that_ends_too_early_is_cut(tmp_path: Path) -> None:
    path = fragmented(tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[: data.rindex(b"mdat") + 500])
    assert "bytes too early" in judged(path).video_info.health


@pytest.mark.parametrize("decode", [True, False])
def test_a_wrong_count_of_a_truncated_file_is_damage(decode: bool, tmp_path: Path) -> None:
    path = length_of("mpeg4 avi no b", 5)(tmp_path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 4 // 5])
    assert judged(path, decode=decode).video_info.health.startswith("cut: the file ends ")


def test_a_coded_picture_that_was_lost_is_damage_though_others_were_dropped(tmp_path: Path) -> None:
    path = with_drops(tmp_path, "mpeg4 avi no b", NOT_CODED)
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][20]
        position, size = packet.pos, packet.size
    data = bytearray(path.read_bytes())
    data[position : position + size] = bytes(size)
    path.write_bytes(data)
    assert judged(path).video_info.health.startswith("cut: ")


def test_an_error_that_the_decoder_passes_over_is_damage_from_its_frame_on(tmp_path: Path) -> None:
    path = make(RECIPES["mjpeg avi"], tmp_path)
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][9]
        position, size = packet.pos, packet.size
    data = bytearray(path.read_bytes())
    data[position + size // 2 : position + size // 2 + 300] = bytes(300)
    path.write_bytes(data)
    found = judged(path).video_info
    assert found.health.startswith("cut: the decoder finds errors after 9 frames: ") and found.num_frames == 9


def test_a_damaged_file_does_not_accuse_the_next_one(tmp_path: Path) -> None:
    """FFmpeg counts equal messages, and PyAV reported the number while the next file was read."""
    bad = cut_start(tmp_path, "h264 mkv", 5)
    good = make(RECIPES["h264 flv"], tmp_path, "good")
    alone = judged(good)
    judged(bad)
    shutil.copy(bad, tmp_path / "again.mkv")
    judged(tmp_path / "again.mkv")
    assert judged(good).video_info.whole_file == alone.video_info.whole_file == ""


@pytest.mark.parametrize("name", SOUND)
def test_transcode_judges_a_sound_file_as_the_scan_does(name: str, tmp_path: Path) -> None:
    made, num_frames, _ = SOUND[name]
    result = reencode(made(tmp_path), tmp_path / "new.mp4", OutputSettings(short_side=64))
    assert (result.status, result.frames_out) == ("ok", num_frames)


@pytest.mark.parametrize("name", CUT)
def test_transcode_judges_a_cut_file_as_the_scan_does(name: str, tmp_path: Path) -> None:
    recipe, share = CUT[name]
    path = make(RECIPES[recipe], tmp_path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    found = judged(path).video_info
    result = reencode(path, tmp_path / "new.mp4", OutputSettings(short_side=64))
    assert (result.status, result.frames_out) == (found.health, found.num_frames)


@pytest.mark.parametrize("edits", EDITS)
def test_transcode_judges_a_file_with_edits_as_the_scan_does(edits: str, tmp_path: Path) -> None:
    path = with_edits(make(RECIPES["h264 mp4 no b"], tmp_path), EDITS[edits])
    result = reencode(path, tmp_path / "new.mp4", OutputSettings(short_side=64))
    assert (result.status, result.frames_out) == ("ok", judged(path).video_info.num_frames)
