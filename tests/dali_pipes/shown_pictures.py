"""Videos whose right pictures are known however they are stored: turned, mirrored, or of pixels that are not square.

Shown, every picture has four quarters of different color and a white disc in the middle, which is round only if the
shape of the pixels was taken into account.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np

# (degrees counter-clockwise from stored to upright, mirrored afterwards) -> (a, b, c, d) of the display matrix:
# the stored pixel (x, y), y down, is shown at x' = a x + c y, y' = b x + d y.
MATRICES = {
    (0, False): (1, 0, 0, 1),
    (90, False): (0, -1, 1, 0),
    (180, False): (-1, 0, 0, -1),
    (270, False): (0, 1, -1, 0),
    (0, True): (-1, 0, 0, 1),
    (90, True): (0, -1, -1, 0),
    (180, True): (1, 0, 0, -1),
    (270, True): (0, 1, 1, 0),
}
ORIENTATIONS = tuple(MATRICES)
_ONE = 1 << 16
_QUARTERS = np.array([[(200, 30, 30), (30, 160, 30)], [(30, 30, 200), (170, 150, 20)]], np.uint8)
_RADIUS = 0.3  # of the disc, in short sides
_NUM_FRAMES = 6


class Storing(NamedTuple):
    """How pictures are stored.

    Args:
        height, width: of the stored picture, in pixels.
        pixel_aspect: None: the file states none.
    """

    height: int = 96
    width: int = 128
    rotation: int = 0
    mirrored: bool = False
    pixel_aspect: Fraction | None = None

    def upright(self) -> np.ndarray:
        """uint8 RGB (height, width, 3) of the stored pixels, upright."""
        is_turned = self.rotation % 180 != 0
        height, width = (self.width, self.height) if is_turned else (self.height, self.width)
        stored_aspect = float(self.pixel_aspect or 1)
        aspect = 1 / stored_aspect if is_turned else stored_aspect
        y, x = np.mgrid[:height, :width] + 0.5
        x = x * aspect
        shown_height, shown_width = height, width * aspect
        picture = _QUARTERS[(y > shown_height / 2).astype(int), (x > shown_width / 2).astype(int)]
        distance = np.hypot(y - shown_height / 2, x - shown_width / 2)
        picture[distance < _RADIUS * min(shown_height, shown_width)] = 235
        return picture

    def stored(self) -> np.ndarray:
        """The same as it is stored: uint8 RGB (self.height, self.width, 3)."""
        upright = self.upright()
        turned = upright[:, ::-1] if self.mirrored else upright
        return np.ascontiguousarray(np.rot90(turned, k=-self.rotation // 90))


def write_shown(path: Path, storing: Storing, *, encoder: str = "libx264", num_frames: int = _NUM_FRAMES) -> Path:
    """Write equal pictures; a turn or mirror is written into the track header, so only into mp4 and mov."""
    with av.open(str(path), "w") as container:
        add_video(container, storing, encoder=encoder, num_frames=num_frames)
    if (storing.rotation, storing.mirrored) != (0, False):
        set_display_matrix(path, [value * _ONE for value in MATRICES[storing.rotation, storing.mirrored]])
    return path


def add_video(container: Any, storing: Storing, *, encoder: str = "libx264", num_frames: int = _NUM_FRAMES) -> Any:
    """Add a stream and its frames to an open file that has no other stream yet to come."""
    stream = container.add_stream(encoder, rate=25)
    write_frames(container, prepare(stream, storing), storing, num_frames=num_frames)
    return stream


def prepare(stream: Any, storing: Storing) -> Any:
    """Set size and pixel aspect of a new stream."""
    stream.height, stream.width, stream.pix_fmt = storing.height, storing.width, "yuv420p"
    if stream.codec_context.name == "libx264":
        stream.options = {"preset": "ultrafast", "crf": "16", "g": "3"}
    stream.codec_context.thread_count = 1
    if storing.pixel_aspect is not None:
        stream.codec_context.sample_aspect_ratio = storing.pixel_aspect
    return stream


def write_frames(container: Any, stream: Any, storing: Storing, *, num_frames: int = _NUM_FRAMES) -> None:
    picture = av.VideoFrame.from_ndarray(storing.stored(), format="rgb24").reformat(format="yuv420p")
    for number in range(num_frames):
        picture.pts, picture.time_base = number, Fraction(1, 25)
        container.mux(stream.encode(picture))
    container.mux(stream.encode(None))


def set_display_matrix(path: Path, turn: Sequence[int]) -> Path:
    """Write (a, b, c, d), 16.16 fixed point, into the first track header of an mp4 or mov."""
    a, b, c, d = turn
    content = path.read_bytes()
    start = content.index(b"tkhd") + 4 + 40  # version 0: 40 bytes of times, number, layer and volume before it
    matrix = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content[:start] + matrix + content[start + 36 :])
    return path


def what_is_wrong(shown: np.ndarray, *, tolerance: float = 0.12) -> str:
    """What is not right in a picture as shown, uint8 RGB (height, width, 3) of square pixels; empty if nothing is.

    A centered crop is as right as the whole.
    """
    height, width = shown.shape[:2]
    corners = shown[[height // 24, -1 - height // 24]][:, [width // 24, -1 - width // 24]].astype(int)
    if np.abs(corners - _QUARTERS).max() > 60:
        return f"the quarters' colors are {corners.tolist()}"
    is_white = shown.min(2) > 190
    across, down = int(is_white[height // 2].sum()), int(is_white[:, width // 2].sum())
    if not across or abs(down / across - 1) > tolerance:
        return f"the disc is {across} pixels wide and {down} high"
    return ""
