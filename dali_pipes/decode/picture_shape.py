"""How a stored picture is to be shown: its orientation and the shape of its pixels.

Note [Orientation]
A display matrix maps a stored pixel (x, y), with y down, to x' = a x + c y and y' = b x + d y. Cameras write one of the
eight that are a number of quarter turns with or without a mirror. Here each is a turn counter-clockwise and then a
left-right mirror, as in ``upright``:

    a  b  c  d     degrees  mirrored
    1  0  0  1        0        no
    0 -1  1  0       90        no
   -1  0  0  1        0        yes
    1  0  0 -1      180        yes      (upside down, but not turned)

Any other matrix (a skew camera, a scale, a shear) counts as the nearest of the eight. One that flattens the picture, as
one of zeros does, counts as none.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from av.filter import Graph
from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

WIDEST_PIXEL = 4  # a pixel aspect beyond 1:4 or 4:1 is damage; the widest in use is 64:27
# More than this off a quarter turn is said. FFmpeg's own tolerance is one degree.
_MOST_DEGREES_OFF = 1.0
_FLAT = 1e-6  # the smallest area of a unit square, relative to its sides

TURNED_ANYHOW = "its display matrix is not one of quarter turns and mirrors: the nearest of these is used"
FLATTENED = "its display matrix flattens the picture: it is not used"
ABSURD_ASPECT = f"its pixel aspect is beyond 1:{WIDEST_PIXEL} or {WIDEST_PIXEL}:1: pixels count as square"


class Orientation(NamedTuple):
    """What makes a stored picture upright. See Note [Orientation].

    Args:
        rotation: 0, 90, 180 or 270 degrees counter-clockwise.
        mirrored: whether it is then mirrored left-right.
        note: what is odd about the file's display matrix; else empty.
    """

    rotation: int = 0
    mirrored: bool = False
    note: str = ""


def upright(stored: np.ndarray, rotation: int, *, mirrored: bool) -> np.ndarray:
    """Turn a picture (height, width, ...) counter-clockwise by ``rotation`` degrees, then mirror it: a view."""
    turned = np.rot90(stored, k=rotation // 90)
    return turned[:, ::-1] if mirrored else turned


def orientation_of(frame: VideoFrame) -> Orientation:
    """The orientation that a frame's display matrix states: the container's, or the codec's."""
    side_data = _side_data(frame)
    if Type.DISPLAYMATRIX not in side_data:
        return Orientation()
    matrix = np.frombuffer(bytes(side_data[Type.DISPLAYMATRIX]), np.int32)
    return orientation_of_matrix(*(int(matrix[place]) for place in (0, 1, 3, 4)))


def _side_data(frame: VideoFrame) -> Any:
    """A mapping, other than PyAV's type hints say. PyAV raises ValueError for a kind that it cannot name (17 and 18:
    EXIF, which JPEGs of cameras have): FFmpeg's filter removes these."""
    while True:
        try:
            return frame.side_data
        except ValueError as error:
            unnamed = re.match(r"(\d+) is not a valid", str(error))
            if unnamed is None:
                raise
            frame = _without_side_data(frame, int(unnamed[1]))


def _without_side_data(frame: VideoFrame, kind: int) -> VideoFrame:
    graph = Graph()
    width, height = frame.width, frame.height
    source = graph.add_buffer(width=width, height=height, format=frame.format, time_base=Fraction(1, 25))
    source.link_to(removes := graph.add("sidedata", mode="delete", type=str(kind)))
    removes.link_to(graph.add("buffersink"))
    graph.configure()
    graph.push(frame)
    kept = graph.pull()
    assert isinstance(kept, VideoFrame)
    return kept


def orientation_of_matrix(a: int, b: int, c: int, d: int) -> Orientation:
    """The nearest of the eight orientations. See Note [Orientation]."""
    area, sides = a * d - b * c, math.hypot(a, b) * math.hypot(c, d)
    if abs(area) <= _FLAT * sides:
        return Orientation(note=FLATTENED)
    mirrored = area < 0
    if mirrored:
        a, c = -a, -c
    rotation = round(math.degrees(math.atan2(c - b, a + d)) / 90) % 4 * 90
    off = max(_degrees_between(math.atan2(-b, a), rotation), _degrees_between(math.atan2(c, d), rotation))
    return Orientation(rotation, mirrored, TURNED_ANYHOW if off > _MOST_DEGREES_OFF else "")


def _degrees_between(radians: float, degrees: int) -> float:
    return abs((math.degrees(radians) - degrees + 180) % 360 - 180)


class PixelShape(NamedTuple):
    """Width and height of a stored pixel, without a common factor; 1 and 1 if unknown.

    Args:
        note: why the file's own aspect is not used; else empty.
    """

    width: int = 1
    height: int = 1
    note: str = ""


def container_aspect(stream: VideoStream) -> Fraction | None:
    """The pixel aspect that the container states, before anything is decoded; None: it states none of its own.

    FFmpeg's guess takes the container's, or else the codec's as found on opening the file.
    """
    guess = stream.sample_aspect_ratio
    return None if guess == stream.codec_context.sample_aspect_ratio else guess


def pixel_shape_of(stream: VideoStream, of_container: Fraction | None) -> PixelShape:
    """The pixel aspect of a stream whose first frame was just decoded; a later change is ignored, like one of size.

    Args:
        of_container: result of ``container_aspect``; it takes precedence over the codec's.
    """
    aspect = of_container or stream.codec_context.sample_aspect_ratio or stream.sample_aspect_ratio
    if not aspect or aspect <= 0:
        return PixelShape()
    if not Fraction(1, WIDEST_PIXEL) <= aspect <= WIDEST_PIXEL:
        return PixelShape(note=ABSURD_ASPECT)
    return PixelShape(aspect.numerator, aspect.denominator)
