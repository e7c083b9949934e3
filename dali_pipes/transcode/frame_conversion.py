"""Convert a decoded frame for encoding: upright, square pixels, small, 8-bit 4:2:0 in BT.601."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace

from dali_pipes.decode.picture_shape import Orientation, PixelShape, upright
from dali_pipes.decode.progressive import as_progressive
from dali_pipes.decode.pyav import colors_of

BT601_TAG = 6  # H.273: SMPTE 170M
# swscale.h: SWS_BICUBIC, SWS_ACCURATE_RND, SWS_FULL_CHR_H_INT; PyAV 17 has no names for the last two. Without them a
# uniform color is up to 3 levels off.
_EXACT = 0x4 | 0x40000 | 0x2000


class Target(NamedTuple):
    """The pictures to write.

    Args:
        width, height: of the upright picture after scaling, in pixels; both even.
        block: the sides are cut to multiples of this, evenly at both edges; a shorter side stays.
        orientation: of the source's pictures.
        range: of the colors.
    """

    width: int
    height: int
    block: int
    orientation: Orientation
    range: ColorRange


def output_size(frame: VideoFrame, orientation: Orientation, pixels: PixelShape, short_side: int) -> tuple[int, int]:
    """Upright (width, height), both even. Non-square pixels are scaled in width, as in players."""
    aspect = Fraction(pixels.width, pixels.height)
    width, height = frame.width * aspect, Fraction(frame.height)
    if orientation.rotation % 180:
        width, height = height, width
    shrink = min(Fraction(1), Fraction(short_side) / min(width, height))
    # Without shrinking, an odd side loses a pixel, as nothing is enlarged.
    bias = Fraction(1, 2) if shrink < 1 or aspect != 1 else Fraction(0)
    return max(2, 2 * int(width * shrink / 2 + bias)), max(2, 2 * int(height * shrink / 2 + bias))


def render(frame: VideoFrame, target: Target) -> VideoFrame:
    """Convert to 8-bit 4:2:0 in BT.601, upright.

    Raises:
        ValueError: this PyAV does not know the frame's matrix.
    """
    width, height, block, (rotation, mirrored, _), target_range = target
    frame, source = as_progressive(frame), _Colors(*colors_of(frame))
    if rotation or mirrored or source.matrix != Colorspace.ITU601 or not frame.format.name.startswith("yuv"):
        # Through RGB: rotating subsampled planes shifts the colors, and swscale converts matrices less exactly.
        stored = (height, width) if rotation % 180 else (width, height)
        full = _Colors(source.matrix, ColorRange.JPEG)
        rgb = _convert(frame, stored, "rgb24", source, full).to_ndarray()
        picture_HWC: Any = np.ascontiguousarray(upright(rgb, rotation, mirrored=mirrored))
        frame = VideoFrame.from_ndarray(picture_HWC, format="rgb24")
        source = full
    of_bt601 = _Colors(Colorspace.ITU601, source.range)
    picture = _convert(frame, (width, height), "yuv420p", of_bt601, _Colors(Colorspace.ITU601, target_range))
    picture = _cut_to_blocks(picture, block)
    picture.colorspace, picture.color_range = BT601_TAG, int(target_range)
    picture.pict_type = 0  # the source's types would force keyframes
    return picture


def _cut_to_blocks(picture: VideoFrame, block: int) -> VideoFrame:
    """The middle of a yuv420p picture whose sides are multiples of ``block``; it starts at an even pixel."""
    height, width = (side - side % block if side >= block else side for side in (picture.height, picture.width))
    if (height, width) == (picture.height, picture.width):
        return picture
    top, left = (picture.height - height) // 4 * 2, (picture.width - width) // 4 * 2
    planes = []
    for number, plane in enumerate(picture.planes):
        half = 2 if number else 1
        pixels = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
        rows, columns = slice(top // half, (top + height) // half), slice(left // half, (left + width) // half)
        planes.append(pixels[rows, columns].ravel())
    planar: Any = np.concatenate(planes).reshape(height * 3 // 2, width)
    return VideoFrame.from_ndarray(planar, format="yuv420p")


class _Colors(NamedTuple):
    matrix: Colorspace
    range: ColorRange


def _convert(
    frame: VideoFrame, size: tuple[int, int], pixel_format: str, source: _Colors, target: _Colors
) -> VideoFrame:
    """``size`` is (width, height)."""
    return frame.reformat(
        width=size[0],
        height=size[1],
        format=pixel_format,
        src_colorspace=source.matrix,
        src_color_range=source.range,
        dst_colorspace=target.matrix,
        dst_color_range=target.range,
        interpolation=_EXACT,
        threads=1,
    )
