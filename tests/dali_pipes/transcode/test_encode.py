from __future__ import annotations

import errno
import os
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from dali_pipes.decode.cost import find_keyframes
from dali_pipes.decode.pyav import Window, decode_frames
from dali_pipes.loader.decoder_choice import DecoderRule
from dali_pipes.scan import scan as scan_module
from dali_pipes.transcode import encode as reencode_module
from dali_pipes.transcode.encode import OutputSettings, reencode
from dali_pipes.transcode.frame_conversion import _cut_to_blocks
from dali_pipes.video_info import VideoInfo
from tests.conftest import (
    ENCODERS,
    HEIGHT,
    SHARED_DATA,
    WIDTH,
    numbered_clip,
    picture,
    read_number,
    set_display_rotation,
    write_clip,
)

H264 = OutputSettings(quality=12)
MJPEG = OutputSettings("mjpeg", quality=2)
COLOURS = ((220, 30, 30), (30, 200, 60), (20, 40, 230), (250, 240, 20), (90, 70, 60), (255, 255, 255), (0, 0, 0))
ODD = SHARED_DATA / "odd"


def probe(path: Path) -> VideoInfo:
    return scan_module.probe(path).video_info


def _read(path: Path, *numbers: int) -> np.ndarray:
    video_info = probe(path)
    wanted = np.array(numbers or range(video_info.num_frames))
    return decode_frames(
        path, wanted, Window((0, 0, video_info.height, video_info.width), 0, video_info.width, video_info.height)
    )


def _numbers(path: Path) -> list[int]:
    return [int(read_number(frame)[0]) for frame in _read(path)]


def _times(path: Path) -> list[Fraction]:
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


def _color_clip(path: Path, codec: str, **options: Any) -> Path:
    return write_clip(path, codec, [np.full((64, 96, 3), color, np.uint8) for color in COLOURS], **options)


@pytest.mark.parametrize("settings", [H264, MJPEG], ids=["h264", "mjpeg"])
@pytest.mark.parametrize("codec", ENCODERS)
def test_frame_i_stays_frame_i(codec: str, settings: OutputSettings, tmp_path: Path) -> None:
    source = numbered_clip(tmp_path / f"a{ENCODERS[codec][0]}", codec, 21)
    result = reencode(source, tmp_path / "b.mp4", settings)
    assert (result.frames_in, result.frames_out, result.status) == (21, 21, "ok")
    assert _numbers(tmp_path / "b.mp4") == list(range(21))
    assert np.abs(_read(tmp_path / "b.mp4", 7)[0].astype(int) - picture(7)).mean() < 4
    assert result.bytes_out == (tmp_path / "b.mp4").stat().st_size
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted((source.name, "b.mp4"))


@pytest.mark.parametrize("gop", [1, 3, 4, 12])
def test_keyframes_come_at_the_asked_distance_and_nothing_is_reordered(gop: int, tmp_path: Path) -> None:
    # Cuts and the source's own keyframes would tempt an encoder to other places.
    scenes = np.random.default_rng(0).integers(0, 256, (5, 64, 96, 3), np.uint8)
    frames = [scenes[number // 5] for number in range(22)]
    source = write_clip(tmp_path / "a.mp4", "libx264", frames, options={"g": "5", "keyint_min": "5"})
    reencode(source, tmp_path / "b.mp4", OutputSettings(gop=gop))
    assert find_keyframes(tmp_path / "b.mp4").positions == tuple(range(0, 22, gop))
    with av.open(str(tmp_path / "b.mp4")) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        assert all(packet.pts == packet.dts for packet in packets) and packets[0].pts == 0
        assert not container.streams.audio
    content = (tmp_path / "b.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


@pytest.mark.parametrize("settings", [H264, MJPEG], ids=["h264", "mjpeg"])
@pytest.mark.parametrize(
    ("codec", "suffix", "options"),
    [
        ("libx264", ".mp4", {}),
        ("libx264", ".mp4", {"bt709": True}),
        ("libx264", ".mp4", {"bt709": True, "pix_fmt": "yuv420p10le"}),
        ("libx264", ".mp4", {"pix_fmt": "yuvj420p"}),
        ("libx264", ".mp4", {"pix_fmt": "yuv422p10le"}),
        ("libx264", ".mp4", {"pix_fmt": "yuv444p"}),
        ("mjpeg", ".avi", {}),
    ],
    ids=["bt601", "bt709", "bt709-10bit", "full", "422-10bit", "444", "mjpeg"],
)
def test_colors_stay_within_three_levels(
    codec: str, suffix: str, options: dict[str, Any], settings: OutputSettings, tmp_path: Path
) -> None:
    source = _color_clip(tmp_path / f"a{suffix}", codec, **options)
    assert reencode(source, tmp_path / "b.mp4", settings).status == "ok"
    before, after = _exact_rgb(source), _exact_rgb(tmp_path / "b.mp4")
    assert np.abs(after - before).max() <= 3
    assert np.abs(after - np.array(COLOURS)).max() <= 4
    video_info = probe(tmp_path / "b.mp4")
    full = settings.codec == "mjpeg"
    assert (video_info.matrix, video_info.color_range) == ("bt601", "full" if full else "limited")
    assert video_info.pix_fmt == ("yuvj420p" if full else "yuv420p")
    assert video_info.whole_file == "", "clips are read by packets"
    assert DecoderRule("cpu" if full else "cuda").why_not_dali(video_info) is None


def _exact_rgb(path: Path) -> np.ndarray:
    """The color in the middle of each frame, float (T, 3), in numpy from the stored samples: BT.601 and BT.709 as in
    H.273, so that swscale is not its own judge."""
    colors = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            bits = frame.format.components[0].bits
            planes = [np.frombuffer(plane, np.uint8 if bits == 8 else "<u2") for plane in frame.planes]
            rows = [plane.line_size // (1 if bits == 8 else 2) for plane in frame.planes]
            y, u, v = (
                float(samples[(plane.height // 2) * row + plane.width // 2]) / 2 ** (bits - 8)
                for samples, row, plane in zip(planes, rows, frame.planes, strict=True)
            )
            full = int(frame.color_range) == 2 or frame.format.name.startswith("yuvj")
            y, u, v = (
                (y, u - 128, v - 128) if full else ((y - 16) * 255 / 219, (u - 128) * 255 / 224, (v - 128) * 255 / 224)
            )
            kr, kb = (0.2126, 0.0722) if int(frame.colorspace) == 1 else (0.299, 0.114)
            red, blue = y + 2 * (1 - kr) * v, y + 2 * (1 - kb) * u
            colors.append((red, (y - kr * red - kb * blue) / (1 - kr - kb), blue))
    return np.clip(np.array(colors), 0, 255)


@pytest.mark.parametrize("turns", [1, 2, 3])
@pytest.mark.parametrize("short_side", [256, 64])
def test_a_rotated_video_is_written_upright(turns: int, short_side: int, tmp_path: Path) -> None:
    stored = [np.rot90(picture(number), k=turns) for number in range(5)]
    source = write_clip(tmp_path / "a.mp4", "libx264", stored)
    set_display_rotation(source, quarter_turns_clockwise=turns)
    reencode(source, tmp_path / "b.mp4", OutputSettings(short_side=short_side, quality=12))
    video_info = probe(tmp_path / "b.mp4")
    assert video_info.rotation == 0 and min(video_info.width, video_info.height) == min(96, short_side)
    assert video_info.width > video_info.height
    assert [read_number(frame) for frame in _read(tmp_path / "b.mp4")] == [(number, False) for number in range(5)]


@pytest.mark.parametrize(
    ("width", "height", "aspect", "short_side", "even", "in_blocks"),
    [
        (128, 96, Fraction(1), 48, (64, 48), (64, 48)),
        (128, 96, Fraction(1), 256, (128, 96), (128, 96)),
        (161, 121, Fraction(1), 256, (160, 120), (160, 112)),
        (161, 121, Fraction(1), 64, (86, 64), (80, 64)),
        (96, 128, Fraction(1), 64, (64, 86), (64, 80)),
        (144, 96, Fraction(16, 15), 256, (154, 96), (144, 96)),
        (96, 96, Fraction(1, 2), 256, (48, 96), (48, 96)),
        (96, 96, Fraction(4, 3), 48, (64, 48), (64, 48)),
        (48, 400, Fraction(1), 24, (24, 200), (16, 192)),
        (96, 96, Fraction(1, 900), 256, (96, 96), (96, 96)),
    ],
)
def test_sizes_are_in_blocks_square_and_never_enlarged(
    width: int,
    height: int,
    aspect: Fraction,
    short_side: int,
    even: tuple[int, int],
    in_blocks: tuple[int, int],
    tmp_path: Path,
) -> None:
    source = tmp_path / "a.mp4"
    frames = [picture(number, height=height, width=width) for number in range(3)]
    with av.open(str(source), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "5"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv444p"
        stream.codec_context.sample_aspect_ratio = aspect
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    for block, expected in ((2, even), (16, in_blocks)):
        assert reencode(source, tmp_path / "b.mp4", OutputSettings(short_side=short_side, block=block)).status == "ok"
        found = probe(tmp_path / "b.mp4")
        assert (found.width, found.height) == expected and found.pixel_aspect == 1
        assert block == 2 or (found.coded_width, found.coded_height) == expected
        if block == 2:  # blocks of 16 may cut the numbers of the smallest pictures
            assert _numbers(tmp_path / "b.mp4") == [0, 1, 2]


@pytest.mark.parametrize(
    ("height", "width", "rows", "columns"),
    [
        (64, 96, slice(0, 64), slice(0, 96)),
        (68, 98, slice(2, 66), slice(0, 96)),
        (78, 110, slice(6, 70), slice(6, 102)),
        (14, 30, slice(0, 14), slice(6, 22)),
    ],
)
def test_the_middle_is_kept_from_an_even_pixel_on(height: int, width: int, rows: slice, columns: slice) -> None:
    """Luma and chroma are cut at the same place, and nothing is scaled."""
    planar = np.random.default_rng(0).integers(0, 256, (height * 3 // 2, width), np.uint8)
    whole = av.VideoFrame.from_ndarray(planar, format="yuv420p")
    cut = _cut_to_blocks(whole, 16)
    for number, (before, after) in enumerate(zip(whole.planes, cut.planes, strict=True)):
        half = 2 if number else 1
        old, new = (np.frombuffer(p, np.uint8).reshape(p.height, p.line_size)[:, : p.width] for p in (before, after))
        top, left = rows.start // half, columns.start // half
        assert np.array_equal(old[top : rows.stop // half, left : columns.stop // half], new)


@pytest.mark.parametrize("settings", [H264, MJPEG], ids=["h264", "mjpeg"])
@pytest.mark.parametrize("ticks", [(0, 40, 47, 180, 900, 901), (5000, 5040, 5047, 5600, 5601, 9000)])
def test_times_of_a_variable_rate_are_kept_from_the_first_frame_on(
    ticks: tuple[int, ...], settings: OutputSettings, tmp_path: Path
) -> None:
    source = _timed_clip(tmp_path / "a.mkv", ticks)
    assert reencode(source, tmp_path / "b.mp4", settings).status == "ok"
    assert _times(tmp_path / "b.mp4") == [Fraction(tick - ticks[0], 1000) for tick in ticks]
    assert _numbers(tmp_path / "b.mp4") == list(range(len(ticks)))


def _timed_clip(path: Path, ticks: tuple[int, ...]) -> Path:
    """A clip in Matroska whose frame i is shown at millisecond ``ticks[i]``."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25, options={"qmin": "2", "qmax": "2"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for number, tick in enumerate(ticks):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            frame.pts, frame.time_base = tick, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_times_that_stand_still_or_are_missing_still_give_every_frame() -> None:
    class Stream:
        time_base, average_rate = Fraction(1, 25), Fraction(25)

    clock = reencode_module._Clock(Stream())  # type: ignore[arg-type]
    frame = 1 / clock.time_base / 25
    assert [clock.ticks(pts) for pts in (3, 4, 4, None, 6, 5, 7)] == [
        0, frame, frame + 1, 2 * frame + 1, 3 * frame, 3 * frame + 1, 4 * frame
    ]  # fmt: skip


def test_a_cut_file_gives_its_good_frames_and_the_reason(tmp_path: Path) -> None:
    source = numbered_clip(tmp_path / "a.avi", "mjpeg", 40)
    source.write_bytes(source.read_bytes()[: source.stat().st_size * 6 // 10])
    num_good = probe(source).num_frames
    result = reencode(source, tmp_path / "b.mp4", H264)
    assert 5 < num_good < 40 and (result.frames_in, result.frames_out) == (num_good, num_good)
    assert result.status.startswith("cut: ") and "header says 40" in result.status
    assert probe(tmp_path / "b.mp4").health == "ok"


@pytest.mark.parametrize("content", [b"", b"not a video at all"])
def test_what_is_no_video_leaves_nothing_behind(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    result = reencode(tmp_path / "a.mp4", tmp_path / "b.mp4", H264)
    assert result.status.startswith("bad: ") and result.frames_out == 0
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_a_change_of_size_in_mid_stream_keeps_the_first_size(tmp_path: Path) -> None:
    big = numbered_clip(tmp_path / "big.ts", "libx264", 4, options={"bf": "0"})
    small = numbered_clip(tmp_path / "small.ts", "libx264", 4, height=48, width=64, options={"bf": "0"})
    (tmp_path / "a.ts").write_bytes(big.read_bytes() + small.read_bytes())
    result = reencode(tmp_path / "a.ts", tmp_path / "b.mp4", H264)
    video_info = probe(tmp_path / "b.mp4")
    assert result.frames_out == video_info.num_frames >= 7 and (video_info.width, video_info.height) == (WIDTH, HEIGHT)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_is_told_in_one_sentence(tmp_path: Path) -> None:
    source = numbered_clip(tmp_path / "a.avi", "mpeg4", 30)
    (tmp_path / ".b.mp4.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"b\.mp4 could not be written: No space left on device; free space"):
        reencode(source, tmp_path / "b.mp4", H264)
    assert [path.name for path in tmp_path.iterdir()] == ["a.avi"]


def test_a_source_that_the_machine_cannot_read_is_not_called_bad(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = numbered_clip(tmp_path / "a.avi", "mpeg4", 5)

    def fails(*arguments: object) -> None:
        raise av.error.OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(reencode_module, "frames_of", fails)
    result = reencode(source, tmp_path / "b.mp4", H264)
    assert result.status == "failed: the source could not be read: Input/output error"


def test_an_output_that_lost_a_frame_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = numbered_clip(tmp_path / "a.avi", "mpeg4", 5)
    wrong = probe(numbered_clip(tmp_path / "c.mp4", "libx264", 4))
    monkeypatch.setattr(reencode_module, "probe", lambda path: scan_module.Probed(wrong))
    result = reencode(source, tmp_path / "b.mp4", H264)
    assert result.status.startswith("failed: wrote frames, width, height, rotation (5, 128, 96, 0), read (4,")
    assert not (tmp_path / "b.mp4").exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"short_side": 255}, "short side: expected an even number of 16 or more, found 255"),
        ({"gop": 0}, "gop: expected 1 or more"),
        ({"quality": 60}, "quality of h264: expected 0 to 51, found 60"),
        ({"codec": "mjpeg", "quality": 1}, "quality of mjpeg: expected 2 to 31, found 1"),
    ],
)
def test_settings_out_of_range_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OutputSettings(**values)


def test_a_missing_encoder_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(av, "codecs_available", {"mjpeg"})
    with pytest.raises(ValueError, match="expected an FFmpeg with the encoder libx264"):
        OutputSettings()


def test_dali_on_a_cpu_reads_the_mjpeg_files(tmp_path: Path) -> None:
    pytest.importorskip("nvidia.dali", reason="DALI is absent")
    from nvidia.dali import fn, pipeline_def

    reencode(_timed_clip(tmp_path / "a.mkv", tuple(range(0, 400, 33))), tmp_path / "b.mp4", MJPEG)

    @pipeline_def(batch_size=1, num_threads=1, device_id=None)
    def pipeline() -> Any:
        encoded, _ = fn.readers.file(files=[str(tmp_path / "b.mp4")])
        return fn.decoders.video(encoded, frames=[12, 0, 5], device="cpu")

    frames = np.asarray(pipeline().run()[0].at(0))
    assert [read_number(frame)[0] for frame in frames] == [12, 0, 5]
    assert np.abs(frames.astype(int) - _read(tmp_path / "b.mp4", 12, 0, 5)).mean() < 1.5


@pytest.mark.skipif(not ODD.is_dir(), reason="../shared/data/odd is absent")
@pytest.mark.parametrize(
    "name",
    [
        "decord__unordered.mov",
        "decord__video_90.mov",
        "decord__video_180.mov",
        "imageio__realshort.mp4",
        "moviepy__bitmap.mp4",
        "torchcodec__h264_10bits.mp4",
        "torchcodec__h265_video.mp4",
        "ucf_truncated__v_BandMarching_g21_c06.avi",
    ],
)
def test_odd_files_show_the_same_pictures_as_before(name: str, tmp_path: Path) -> None:
    before, source = probe(ODD / name), ODD / name
    settings = replace(H264, block=2)  # the whole picture but an odd line
    assert reencode(source, tmp_path / "b.mp4", settings).frames_out == before.num_frames
    upright = (before.height, before.width) if before.rotation % 180 == 0 else (before.width, before.height)
    numbers = np.linspace(0, before.num_frames - 1, 5).astype(int)
    old = decode_frames(source, numbers, Window((0, 0, *upright), before.rotation, before.width, before.height))
    new = _read(tmp_path / "b.mp4", *numbers.tolist())
    for old_frame, new_frame in zip(old, new, strict=True):
        assert np.abs(_shrunk(old_frame) - _shrunk(new_frame)).mean() < 3


def _shrunk(frame: np.ndarray) -> np.ndarray:
    return av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(32, 32).to_ndarray().astype(int)
