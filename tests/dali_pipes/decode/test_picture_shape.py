"""Orientation and pixel aspect of a file, from every place where a file states them."""

from __future__ import annotations

import math
import re
import struct
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from dali_pipes.decode.picture_shape import (
    ABSURD_ASPECT,
    FLATTENED,
    TURNED_ANYHOW,
    Orientation,
    PixelShape,
    container_aspect,
    orientation_of,
    orientation_of_matrix,
    pixel_shape_of,
    upright,
)
from dali_pipes.decode.pyav import Window, decode_frames, open_video, open_video_stream, output_frames
from dali_pipes.scan.probe import probe
from dali_pipes.scan.summary import describe_pictures
from dali_pipes.transcode.encode import OutputSettings, reencode
from tests.dali_pipes.shown_pictures import (
    MATRICES,
    ORIENTATIONS,
    Storing,
    add_video,
    set_display_matrix,
    what_is_wrong,
    write_shown,
)

ONE = 1 << 16


def turned(degrees: float, *, mirrored: bool = False, scale: float = 1.0) -> tuple[int, int, int, int]:
    """The matrix of a turn counter-clockwise, then a mirror."""
    cosine, sine = (round(scale * ONE * f(math.radians(degrees))) for f in (math.cos, math.sin))
    sign = -1 if mirrored else 1
    return sign * cosine, -sine, sign * sine, cosine


@pytest.mark.parametrize(("rotation", "mirrored"), ORIENTATIONS)
def test_each_of_the_eight_orientations_is_read_from_its_matrix(rotation: int, mirrored: bool) -> None:
    matrix = [value * ONE for value in MATRICES[rotation, mirrored]]
    assert orientation_of_matrix(*matrix) == Orientation(rotation, mirrored)
    storing = Storing(5, 9, rotation, mirrored)
    np.testing.assert_array_equal(upright(storing.stored(), rotation, mirrored=mirrored), storing.upright())
    # Scaled, alone or with another scale along the other side, it is the same orientation.
    assert orientation_of_matrix(*(value * 3 for value in matrix)) == Orientation(rotation, mirrored)
    a, b, c, d = matrix
    assert orientation_of_matrix(2 * a, b, 2 * c, d) == Orientation(rotation, mirrored)


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        (turned(0.5), Orientation()),
        (turned(89.5), Orientation(90)),
        (turned(-90.4, mirrored=True), Orientation(270, mirrored=True)),
        (turned(44), Orientation(0, note=TURNED_ANYHOW)),
        (turned(46), Orientation(90, note=TURNED_ANYHOW)),
        (turned(200, scale=0.3), Orientation(180, note=TURNED_ANYHOW)),
        (turned(130, mirrored=True), Orientation(90, True, TURNED_ANYHOW)),
        ((ONE, 0, ONE // 2, ONE), Orientation(0, note=TURNED_ANYHOW)),  # a shear
        ((0, 0, 0, 0), Orientation(note=FLATTENED)),
        ((ONE, ONE, ONE, ONE), Orientation(note=FLATTENED)),
        ((ONE, 0, 0, 0), Orientation(note=FLATTENED)),
        ((-(2**31), 2**31 - 1, 2**31 - 1, 2**31 - 1), Orientation(0, True, TURNED_ANYHOW)),
    ],
)
def test_any_other_matrix_counts_as_the_nearest_or_as_none(
    matrix: tuple[int, int, int, int], expected: Orientation
) -> None:
    assert orientation_of_matrix(*matrix) == expected


def first_frame(path: Path) -> av.VideoFrame:
    with open_video(path) as container:
        return next(output_frames(container, open_video_stream(container)))


def shown(path: Path) -> np.ndarray:
    found = probe(path).video_info
    size = (found.height, found.width) if found.rotation % 180 == 0 else (found.width, found.height)
    window = Window((0, 0, *size), found.rotation, found.width, found.height, mirrored=found.mirrored)
    return decode_frames(path, np.array([2]), window, stream=found.stream)[0]


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
@pytest.mark.parametrize(("rotation", "mirrored"), ORIENTATIONS)
def test_a_track_header_turns_and_mirrors(rotation: int, mirrored: bool, suffix: str, tmp_path: Path) -> None:
    path = write_shown(tmp_path / f"a{suffix}", Storing(rotation=rotation, mirrored=mirrored))
    assert orientation_of(first_frame(path)) == Orientation(rotation, mirrored)
    for decode in (True, False):
        found = probe(path, decode=decode).video_info
        assert (found.rotation, found.mirrored, found.notes) == (rotation, mirrored, "")
    assert what_is_wrong(shown(path)) == ""


def with_display_orientation(source: Path, path: Path, codec: str, settings: str) -> Path:
    """Copy with the codec's own message of orientation (SEI), as some cameras write it."""
    with av.open(str(source)) as given, av.open(str(path), "w") as target:
        stream = given.streams.video[0]
        added = av.BitStreamFilterContext(f"{codec}_metadata=display_orientation=insert:{settings}", stream)
        copy = target.add_stream_from_template(stream)
        for packet in given.demux(stream):
            for changed in added.filter(packet if packet.size else None):
                changed.stream = copy
                target.mux(changed)
    return path


@pytest.mark.parametrize(
    ("settings", "rotation", "mirrored"),
    [
        ("rotate=90", 90, False),
        ("rotate=270", 270, False),
        ("flip=horizontal", 0, True),
        ("flip=vertical", 180, True),
        ("rotate=90:flip=horizontal", 270, True),  # the codec's flip comes before its turn
        ("rotate=90:flip=vertical", 90, True),
    ],
)
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_the_codec_turns_and_mirrors(settings: str, rotation: int, mirrored: bool, suffix: str, tmp_path: Path) -> None:
    storing = Storing(rotation=rotation, mirrored=mirrored)
    plain = write_shown(tmp_path / "plain.mp4", storing._replace(rotation=0, mirrored=False))
    path = with_display_orientation(plain, tmp_path / f"a{suffix}", "h264", settings)
    found = [probe(path, decode=decode).video_info for decode in (True, False)]
    assert {(one.health, one.rotation, one.mirrored) for one in found} == {("ok", rotation, mirrored)}


def with_hevc_orientation(source: Path, path: Path, *, flips: int, degrees: int) -> Path:
    """Copy a raw HEVC stream with a message of orientation (ITU-T H.265, D.2.17) before its first picture.

    Args:
        flips: 2 horizontal, 1 vertical.
    """
    data = source.read_bytes()
    starts = [found.start() for found in re.finditer(re.escape(b"\0\0\1"), data)]
    first_picture = next(start for start in starts if data[start + 3] >> 1 & 63 < 32)
    # cancel 0, two flips, the turn in 2**-16 of a circle, persistence 1; then a 1 and zeros to the end of the byte
    bits = flips << 21 | degrees * 65536 // 360 << 5 | 1 << 4 | 1 << 3
    message = b"\0\0\1\x4e\1\x2f\3" + bits.to_bytes(3, "big") + b"\x80"
    path.write_bytes(data[:first_picture] + message + data[first_picture:])
    return path


@pytest.mark.parametrize(
    ("flips", "degrees", "rotation", "mirrored"),
    [
        (0, 90, 90, False),
        (0, 270, 270, False),
        (2, 0, 0, True),
        (1, 0, 180, True),
        (2, 90, 270, True),  # as of H.264
        (1, 90, 90, True),
    ],
)
def test_hevc_turns_and_mirrors(flips: int, degrees: int, rotation: int, mirrored: bool, tmp_path: Path) -> None:
    storing = Storing(rotation=rotation, mirrored=mirrored)
    plain = tmp_path / "plain.h265"
    with av.open(str(plain), "w") as container:
        add_video(container, storing, encoder="libx265")
    path = with_hevc_orientation(plain, tmp_path / "a.h265", flips=flips, degrees=degrees)
    found = [probe(path, decode=decode).video_info for decode in (True, False)]
    assert {(one.health, one.rotation, one.mirrored) for one in found} == {("ok", rotation, mirrored)}
    assert what_is_wrong(shown(path)) == ""


@pytest.mark.parametrize(
    ("suffix", "encoder", "aspect"),
    [
        (".mp4", "libx264", Fraction(16, 11)),
        (".mkv", "libx264", Fraction(1, 2)),
        (".avi", "mpeg4", Fraction(10, 11)),
        (".flv", "libx264", Fraction(4)),
        (".ts", "libx264", Fraction(1, 4)),
        (".asf", "mpeg4", Fraction(64, 45)),
        (".264", "libx264", Fraction(4, 3)),
    ],
)
def test_the_pixel_aspect_is_read_from_any_container(
    suffix: str, encoder: str, aspect: Fraction, tmp_path: Path
) -> None:
    path = write_shown(tmp_path / f"a{suffix}", Storing(pixel_aspect=aspect), encoder=encoder)
    found = [probe(path, decode=decode).video_info for decode in (True, False)]
    assert {(one.health, one.pixel_width, one.pixel_height) for one in found} == {
        ("ok", aspect.numerator, aspect.denominator)
    }


@pytest.mark.parametrize(
    ("aspect", "expected"),
    [
        (None, PixelShape()),
        (Fraction(0), PixelShape()),
        (Fraction(-4, 3), PixelShape()),
        (Fraction(401, 100), PixelShape(note=ABSURD_ASPECT)),
        (Fraction(1, 5), PixelShape(note=ABSURD_ASPECT)),
        (Fraction(4), PixelShape(4, 1)),
        (Fraction(64, 27), PixelShape(64, 27)),
    ],
)
def test_an_unknown_or_absurd_pixel_aspect_counts_as_square(aspect: Fraction | None, expected: PixelShape) -> None:
    class Stream:
        sample_aspect_ratio = aspect

        class codec_context:  # noqa: N801
            sample_aspect_ratio = aspect

    assert pixel_shape_of(Stream, container_aspect(Stream)) == expected  # type: ignore[arg-type]


def test_the_container_s_pixel_aspect_has_precedence_over_the_codec_s(tmp_path: Path) -> None:
    path = write_shown(tmp_path / "a.mp4", Storing(pixel_aspect=Fraction(4, 3)))
    content = path.read_bytes()
    start = content.index(b"pasp") + 4
    path.write_bytes(content[:start] + (2).to_bytes(4, "big") + (1).to_bytes(4, "big") + content[start + 8 :])
    for decode in (True, False):
        found = probe(path, decode=decode).video_info
        assert (found.pixel_width, found.pixel_height) == (2, 1)


def test_when_the_pixel_aspect_changes_the_first_frame_s_counts(tmp_path: Path) -> None:
    first, second = (
        write_shown(tmp_path / f"{name}.264", Storing(pixel_aspect=aspect), num_frames=3)
        for name, aspect in (("one", Fraction(4, 3)), ("two", Fraction(3, 2)))
    )
    path = tmp_path / "a.264"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    found = [probe(path, decode=decode).video_info for decode in (True, False)]
    assert {(one.pixel_width, one.pixel_height) for one in found} == {(4, 3)}


def test_odd_matrices_and_aspects_are_said_once_for_all_files(tmp_path: Path) -> None:
    path = write_shown(tmp_path / "a.mp4", Storing(pixel_aspect=Fraction(9)))
    set_display_matrix(path, turned(50))
    found = probe(path).video_info
    assert (found.rotation, found.pixel_width, found.pixel_height) == (90, 1, 1)
    plain = probe(write_shown(tmp_path / "b.mp4", Storing())).video_info
    assert describe_pictures([found, found, plain]) == [
        "2 are turned or mirrored to be upright",
        f"2: {TURNED_ANYHOW}; {ABSURD_ASPECT}",
    ]


def write_exif(path: Path, storing: Storing, orientation: int) -> Path:
    """A video of JPEGs with an EXIF orientation, as photo cameras write it."""
    jpeg = cv2.imencode(".jpg", storing.stored()[:, :, ::-1])[1].tobytes()
    entry = struct.pack("<HHIHH", 0x112, 3, 1, orientation, 0)
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + struct.pack("<I", 0)
    jpeg = jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.height, stream.width, stream.pix_fmt = *storing[:2], "yuvj420p"
        for number in range(4):
            packet = av.Packet(jpeg)
            packet.pts = packet.dts = number
            packet.time_base, packet.stream, packet.is_keyframe = Fraction(1, 25), stream, True
            container.mux(packet)
    return path


# EXIF 2.3, section 4.6: 5 swaps x and y.
EXIF = {
    1: (0, False), 2: (0, True), 3: (180, False), 4: (180, True),
    5: (270, True), 6: (270, False), 7: (90, True), 8: (90, False),
}  # fmt: skip


@pytest.mark.parametrize("orientation", EXIF)
def test_an_exif_orientation_is_read_beside_data_that_pyav_cannot_name(orientation: int, tmp_path: Path) -> None:
    if first_frame(write_exif(tmp_path / "turned.avi", Storing(), 6)).rotation == 0:
        pytest.skip(f"the FFmpeg of PyAV {av.__version__} does not read EXIF orientations")
    storing = Storing(96, 128, *EXIF[orientation])
    path = write_exif(tmp_path / "a.avi", storing, orientation)
    found = probe(path).video_info
    assert (found.rotation, found.mirrored, found.notes) == (*EXIF[orientation], "")
    assert what_is_wrong(shown(path)) == ""
    np.testing.assert_array_equal(Storing(4, 9, 270, True).upright(), Storing(4, 9, 270, True).stored().swapaxes(0, 1))


def test_whatever_a_header_states_both_scans_and_transcode_agree(tmp_path: Path) -> None:
    """Random numbers in place of the display matrix and the pixel aspect."""
    content = write_shown(tmp_path / "plain.mp4", Storing(pixel_aspect=Fraction(4, 3)), num_frames=2).read_bytes()
    numbers = np.random.default_rng(0)
    edges = (0, 1, ONE, 2**31 - 1, -(2**31), -1)
    path = tmp_path / "a.mp4"
    for trial in range(40):
        values = [
            int(numbers.choice(edges)) if trial % 2 else int(numbers.integers(-(2**31), 2**31)) for _ in range(11)
        ]
        start = content.index(b"tkhd") + 44
        changed = content[:start] + struct.pack(">9i", *values[:9]) + content[start + 36 :]
        start = changed.index(b"pasp") + 4
        path.write_bytes(changed[:start] + struct.pack(">2i", *values[9:]) + changed[start + 8 :])
        found, quick = (probe(path, decode=decode).video_info for decode in (True, False))
        assert found.health == quick.health == "ok", values
        names = ("rotation", "mirrored", "pixel_width", "pixel_height", "stream", "notes")
        assert [getattr(found, name) for name in names] == [getattr(quick, name) for name in names], values
        assert Fraction(1, 4) <= Fraction(found.pixel_width, found.pixel_height) <= 4
        assert reencode(path, tmp_path / "out.mp4", OutputSettings(short_side=16)).status == "ok", values
