"""Standard files of the decode benchmark: the same moving pictures in the usual codecs and GOP lengths.

Shape letters: T frames, H W pixels, C colors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from av.video.reformatter import Interpolation

from dali_pipes.atomic_files import atomic_write_text, full_disk_named
from dali_pipes.decode.pyav import open_video, open_video_stream, output_frames
from dali_pipes.synthetic.video_files import same_scheduling

HEIGHT, WIDTH, NUM_FRAMES, FRAMES_PER_SECOND = 256, 340, 250, 25
LIST_NAME = "list.csv"
_CHUNK_SIZE = 7  # noise fields used in turn


class Kind(NamedTuple):
    """A codec and its encoding options."""

    codec: str
    suffix: str
    options: dict[str, str]
    pix_fmt: str = "yuv420p"


def _h264(keyframe_every: int, *, bframes: int) -> Kind:
    x264 = (
        f"keyint={keyframe_every}:min-keyint={keyframe_every}:scenecut=0:bframes={bframes}:b-pyramid=normal:threads=1"
    )
    return Kind("libx264", ".mp4", {"crf": "23", "preset": "medium", "x264-params": x264})


# Constant quality, as Kinetics is commonly cut (x264, CRF 23, short side 256); the others have about the same quality.
KINDS: dict[str, Kind] = {
    "h264-g12-no-b": _h264(12, bframes=0),
    "h264-g12": _h264(12, bframes=3),
    "h264-g25": _h264(25, bframes=3),
    "h264-g50": _h264(50, bframes=3),
    "h264-g250": _h264(250, bframes=3),
    "vp9-g12": Kind("libvpx-vp9", ".webm", {"crf": "33", "b": "0", "g": "12", "deadline": "good", "cpu-used": "5"}),
    "mjpeg": Kind("mjpeg", ".avi", {"qmin": "4", "qmax": "4"}, "yuvj420p"),
    "mpeg4-asp": Kind("mpeg4", ".avi", {"qmin": "4", "qmax": "4", "g": "250", "bf": "2"}),
    "hevc-g50": Kind(
        "libx265",
        ".mp4",
        {"crf": "26", "preset": "medium", "x265-params": "keyint=50:min-keyint=50:pools=1:frame-threads=1:log-level=1"},
    ),
}


def available_kinds() -> dict[str, Kind]:
    """The kinds whose encoder PyAV has here."""
    return {name: kind for name, kind in KINDS.items() if kind.codec in av.codecs_available}


def make_kind(folder: Path, name: str, contents: Sequence[Path | int], *, num_frames: int = NUM_FRAMES) -> float:
    """Write one clip for each content, and a list of them, into ``folder``/``name``.

    Args:
        contents: each a video to take pictures from, or the seed of synthetic pictures.

    Returns:
        mean kilobits per second.

    Raises:
        ValueError: a content without pictures.
    """
    kind, target = KINDS[name], folder / name
    target.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, content in enumerate(contents):
        pictures = moving_textures(content, num_frames) if isinstance(content, int) else shown(content, num_frames)
        paths.append(target / f"{number:03d}{kind.suffix}")
        with full_disk_named(paths[-1]):
            encode(paths[-1], kind, pictures, height=HEIGHT, width=WIDTH)
    lines = ["path,label", *(f"{path.name},{name}" for path in paths)]
    atomic_write_text(target / LIST_NAME, "\n".join(lines) + "\n")
    seconds = num_frames / FRAMES_PER_SECOND * len(paths)
    return sum(path.stat().st_size for path in paths) * 8 / 1000 / seconds


def encode(path: Path, kind: Kind, pictures: Iterator[np.ndarray], *, height: int, width: int) -> None:
    """Encode uint8 (H, W, C) RGB pictures, untagged as most files are, by one thread."""
    with same_scheduling(), av.open(str(path), "w") as container:
        stream: Any = container.add_stream(kind.codec, rate=FRAMES_PER_SECOND)
        stream.height, stream.width, stream.pix_fmt, stream.options = height, width, kind.pix_fmt, kind.options
        stream.codec_context.thread_count = 1
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FRAMES_PER_SECOND)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def shown(path: Path, num_frames: int) -> Iterator[np.ndarray]:
    """uint8 (H, W, C) pictures of a real video, scaled; a short one plays forward and backward.

    Raises:
        ValueError: it has no picture.
    """
    pictures: list[np.ndarray] = []
    with open_video(path) as container:
        for frame in output_frames(container, open_video_stream(container)):
            scaled = frame.reformat(WIDTH, HEIGHT, "rgb24", interpolation=Interpolation.BICUBIC)
            pictures.append(scaled.to_ndarray())
            if len(pictures) == num_frames:
                break
    if not pictures:
        raise ValueError(f"{path}: expected at least one picture, found none; give other content.")
    to_and_fro = [*pictures, *pictures[-2:0:-1]]
    yield from (to_and_fro[number % len(to_and_fro)] for number in range(num_frames))


def moving_textures(seed: int, num_frames: int) -> Iterator[np.ndarray]:
    """uint8 (H, W, C) pictures: a camera pans over a textured scene by fractions of a pixel, three textured objects
    move across it, and there is sensor noise. Textures have the 1/f spectrum of natural images (Field 1987,
    doi:10.1364/JOSAA.4.002379)."""
    random = np.random.default_rng(seed)
    scene = _texture(random, HEIGHT * 2, WIDTH * 2)
    things = [_texture(random, 96, 80) for _ in range(3)]
    speeds, phases = random.uniform(0.015, 0.09, (5, 2)), random.uniform(0, 2 * np.pi, (5, 2))
    noise = random.normal(0, 2, (_CHUNK_SIZE, HEIGHT, WIDTH, 3)).astype(np.float32)
    for t in range(num_frames):
        indices = 0.5 + 0.5 * np.sin(speeds * t + phases)  # from 0 to 1
        picture = _window(scene, indices[4, 0] * (HEIGHT - 2), indices[4, 1] * (WIDTH - 2))
        for thing, (y, x) in zip(things, indices, strict=False):
            top, left = int(y * (HEIGHT - 96)), int(x * (WIDTH - 80))
            picture[top : top + 96, left : left + 80] = thing
        yield np.clip(picture + noise[t % _CHUNK_SIZE], 0, 255).astype(np.uint8)


def _window(scene: np.ndarray, y: float, x: float) -> np.ndarray:
    """The window of the scene at a subpixel position, by linear interpolation."""
    top, left = int(y), int(x)
    part = scene[top : top + HEIGHT + 1, left : left + WIDTH + 1]
    rows = part[:-1] * np.float32(1 - (y - top)) + part[1:] * np.float32(y - top)
    return rows[:, :-1] * np.float32(1 - (x - left)) + rows[:, 1:] * np.float32(x - left)


def _texture(random: np.random.Generator, height: int, width: int) -> np.ndarray:
    """float32 (height, width, 3) levels."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = np.inf
    planes = []
    for _ in range(4):
        spectrum = random.standard_normal((2, *frequency.shape))
        plane = np.fft.irfft2((spectrum[0] + 1j * spectrum[1]) / frequency, s=(height, width))
        planes.append(plane / plane.std())
    gray = planes.pop()
    return np.clip(128 + 45 * np.stack([0.9 * gray + 0.35 * plane for plane in planes], -1), 0, 255).astype(np.float32)
