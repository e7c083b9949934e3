"""Small real videos of many kinds, each a recipe: what tests of sparse decode and of damaged files start from.

Every frame differs from every other all over, so that a picture made from the wrong reference is not the right one.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np

from dali_pipes.synthetic.video_files import same_scheduling

HEIGHT, WIDTH = 64, 96


class Recipe(NamedTuple):
    """How a video is made: container (file suffix), encoder, its options, and what is special about it."""

    suffix: str
    encoder: str
    options: dict[str, str] = {}
    pix_fmt: str = "yuv420p"
    num_frames: int = 40
    pts: Sequence[int] | None = None  # None: one tick of 1/25 s after the other
    color: tuple[int, int] = (2, 0)  # matrix and range as tagged
    size: tuple[int, int] = (HEIGHT, WIDTH)


_X264 = {"preset": "veryfast", "crf": "30", "threads": "1"}
_X265 = {"preset": "ultrafast", "crf": "32", "x265-params": "log-level=none:pools=none:frame-threads=1:keyint=12"}
_VPX = {"crf": "30", "b": "200k", "cpu-used": "5", "threads": "1", "g": "12"}
_XVID = {"qscale": "8", "g": "12"}


def _x264(**options: str) -> dict[str, str]:
    return {**_X264, "g": "12", **{name.replace("_", "-"): value for name, value in options.items()}}


def _x265(params: str, **options: str) -> dict[str, str]:
    return {**_X265, **options, "x265-params": f"{_X265['x265-params']}:{params}"}


RECIPES: dict[str, Recipe] = {
    "h264 mp4 no b": Recipe(".mp4", "libx264", _x264(bf="0")),
    "h264 mp4 b": Recipe(".mp4", "libx264", _x264(bf="2", b_pyramid="none")),
    "h264 mp4 pyramid": Recipe(
        ".mp4", "libx264", _x264(bf="5", b_pyramid="normal", b_adapt="0", refs="4", weightp="2")
    ),
    "h264 mp4 strict pyramid": Recipe(".mp4", "libx264", _x264(bf="3", b_pyramid="strict", b_adapt="0")),
    "h264 mp4 open gop": Recipe(".mp4", "libx264", _x264(bf="3", x264_params="open-gop=1")),
    "h264 mp4 intra refresh": Recipe(".mp4", "libx264", _x264(intra_refresh="1")),
    "h264 mp4 one keyframe": Recipe(".mp4", "libx264", _x264(g="999", bf="3")),
    "h264 mp4 slices": Recipe(".mp4", "libx264", _x264(slices="4", bf="2")),
    "h264 mp4 interlaced": Recipe(".mp4", "libx264", _x264(flags="+ildct+ilme", bf="2"), size=(64, 96)),
    "h264 mp4 10 bit": Recipe(".mp4", "libx264", _x264(bf="2"), "yuv420p10le"),
    "h264 mp4 444": Recipe(".mp4", "libx264", _x264(bf="2"), "yuv444p"),
    "h264 mp4 lossless": Recipe(".mp4", "libx264", {**_x264(bf="2"), "qp": "0"}, num_frames=24),
    "h264 mp4 bt709": Recipe(".mp4", "libx264", _x264(bf="2"), color=(1, 1)),
    "h264 mp4 full range": Recipe(".mp4", "libx264", _x264(bf="2"), "yuvj420p"),
    "h264 mp4 vfr": Recipe(
        ".mp4", "libx264", _x264(bf="2"), pts=np.cumsum(np.random.default_rng(5).integers(1, 9, 40)).tolist()
    ),
    "h264 mov": Recipe(".mov", "libx264", _x264(bf="3")),
    "h264 mkv": Recipe(".mkv", "libx264", _x264(bf="3")),
    "h264 mkv repeated headers": Recipe(".mkv", "libx264", _x264(bf="3", x264_params="repeat-headers=1")),
    "h264 avi no b": Recipe(".avi", "libx264", _x264(bf="0")),
    "h264 avi b": Recipe(".avi", "libx264", _x264(bf="2")),
    "h264 flv": Recipe(".flv", "libx264", _x264(bf="2")),
    "h264 ts": Recipe(".ts", "libx264", _x264(bf="2")),
    "h264 baseline": Recipe(".mp4", "libx264", _x264(profile="baseline", refs="3")),
    "hevc mp4 closed gop": Recipe(".mp4", "libx265", _x265("no-open-gop=1:bframes=3")),
    "hevc mp4 open gop": Recipe(".mp4", "libx265", _x265("open-gop=1:bframes=4:b-pyramid=1:b-adapt=0")),
    "hevc mp4 radl": Recipe(".mp4", "libx265", _x265("no-open-gop=1:radl=2:bframes=3:b-adapt=0")),
    "hevc mp4 temporal layers": Recipe(".mp4", "libx265", _x265("temporal-layers=3:b-adapt=0:bframes=3")),
    "hevc mkv": Recipe(".mkv", "libx265", _x265("open-gop=1:bframes=3:repeat-headers=1")),
    "hevc mp4 intra refresh": Recipe(".mp4", "libx265", _x265("intra-refresh=1:bframes=2")),
    "hevc mp4 10 bit": Recipe(".mp4", "libx265", _x265("bframes=2"), "yuv420p10le"),
    "hevc ts": Recipe(".ts", "libx265", _x265("open-gop=1:bframes=3")),
    "vp8 webm": Recipe(".webm", "libvpx", {**_VPX, "auto-alt-ref": "1", "lag-in-frames": "16"}),
    "vp8 webm segments": Recipe(".webm", "libvpx", {**_VPX, "static-thresh": "100", "error-resilient": "1"}),
    "vp9 webm good": Recipe(
        ".webm", "libvpx-vp9", {**_VPX, "deadline": "good", "auto-alt-ref": "1", "lag-in-frames": "16", "g": "16"}
    ),
    "vp9 webm realtime": Recipe(".webm", "libvpx-vp9", {**_VPX, "deadline": "realtime", "cpu-used": "8"}),
    "vp9 mp4": Recipe(".mp4", "libvpx-vp9", {**_VPX, "deadline": "realtime", "cpu-used": "8"}),
    "vp9 webm 444": Recipe(".webm", "libvpx-vp9", {**_VPX, "deadline": "realtime", "cpu-used": "8"}, "yuv444p"),
    "av1 mkv": Recipe(".mkv", "libsvtav1", {"preset": "12", "crf": "45", "g": "12", "svtav1-params": "lp=1"}),
    "av1 mp4 low delay": Recipe(
        ".mp4", "libsvtav1", {"preset": "12", "crf": "45", "g": "12", "svtav1-params": "lp=1:pred-struct=1"}
    ),
    "av1 mkv film grain": Recipe(
        ".mkv", "libsvtav1", {"preset": "12", "crf": "45", "g": "12", "svtav1-params": "lp=1:film-grain=20"}
    ),
    "mpeg4 mp4 b": Recipe(".mp4", "mpeg4", {**_XVID, "bf": "2"}),
    "mpeg4 mp4 gmc qpel": Recipe(".mp4", "mpeg4", {**_XVID, "bf": "2", "flags": "+qpel+mv4", "mpv_flags": "+mv0"}),
    "mpeg4 mkv b": Recipe(".mkv", "mpeg4", {**_XVID, "bf": "2"}),
    "mpeg4 avi b": Recipe(".avi", "mpeg4", {**_XVID, "bf": "2"}),
    "mpeg4 avi no b": Recipe(".avi", "mpeg4", _XVID),
    "mpeg4 avi closed gop": Recipe(".avi", "mpeg4", {**_XVID, "flags": "+cgop", "sc_threshold": "1000000000"}),
    "mpeg4 mkv interlaced": Recipe(".mkv", "mpeg4", {**_XVID, "qscale": "4", "bf": "3", "flags": "+ildct+ilme"}),
    "mpeg4 mp4 interlaced qpel": Recipe(".mp4", "mpeg4", {**_XVID, "bf": "2", "flags": "+ildct+ilme+qpel"}),
    "mjpeg avi": Recipe(".avi", "mjpeg", {"qscale": "6"}, "yuvj420p", num_frames=24),
    "mjpeg mkv": Recipe(".mkv", "mjpeg", {"qscale": "6"}, "yuvj422p", num_frames=24),
    "mpeg2 ts": Recipe(".ts", "mpeg2video", {"g": "12", "bf": "2"}),
    "one frame": Recipe(".mp4", "libx264", _x264(), num_frames=1),
    "smallest": Recipe(".mkv", "libx264", _x264(bf="2"), size=(2, 2), num_frames=12),
    "one pixel": Recipe(".mkv", "mjpeg", {}, "yuvj444p", size=(1, 1), num_frames=4),
}


def pictures(num_frames: int, height: int, width: int, *, seed: int = 1) -> list[np.ndarray]:
    """uint8 RGB frames: a texture that moves at another speed in each half, with a little noise."""
    rng = np.random.default_rng(seed)
    texture = rng.integers(0, 256, (height // 4 + 32, width // 4 + 32, 3), np.uint8).repeat(4, 0).repeat(4, 1)
    frames = []
    for number in range(num_frames):
        near = texture[number : number + height, 2 * number : 2 * number + width].astype(np.int16)
        far = texture[30 : 30 + height, 60 - number : 60 - number + width]
        near[: height // 2] = far[: height // 2]
        frames.append(np.clip(near + rng.integers(-6, 7, near.shape) + 3 * (number % 5), 0, 255).astype(np.uint8))
    return frames


def can_make(recipe: Recipe) -> bool:
    """Whether this PyAV has the encoder."""
    return recipe.encoder in av.codecs_available


def make(recipe: Recipe, folder: Path, name: str = "clip") -> Path:
    """Encode a recipe; the file's path."""
    path = folder / f"{name}{recipe.suffix}"
    height, width = recipe.size
    with same_scheduling(), av.open(str(path), "w") as container:
        stream: Any = container.add_stream(recipe.encoder, rate=Fraction(25))
        stream.height, stream.width, stream.pix_fmt = height, width, recipe.pix_fmt
        stream.options = dict(recipe.options)
        stream.codec_context.thread_count = 1
        stream.codec_context.colorspace, stream.codec_context.color_range = recipe.color
        for number, picture in enumerate(pictures(recipe.num_frames, height, width)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=recipe.pix_fmt)
            frame.pts, frame.time_base = recipe.pts[number] if recipe.pts else number, Fraction(1, 25)
            frame.colorspace, frame.color_range = recipe.color
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def make_audio(path: Path) -> Path:
    """Half a second of silence, and no pictures."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4000), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 8000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
