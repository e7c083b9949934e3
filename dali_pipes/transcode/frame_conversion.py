"""Convert a decoded frame for encoding: upright, square pixels, small, 8-bit 4:2:0 in BT.601."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace

from dali_pipes.decode.pyav import colors_of, quarter_turns

BT601_TAG = 6  # H.273: SMPTE 170M
# swscale.h: SWS_BICUBIC, SWS_ACCURATE_RND, SWS_FULL_CHR_H_INT; PyAV 17 has no names for the last two. Without them a
# uniform color is up to 3 levels off.
_EXACT = 0x4 | 0x40000 | 0x2000
_WIDEST_PIXEL = 4  # a pixel aspect ratio beyond this is damage, not a picture


def output_size(frame: VideoFrame, pixel_aspect: Fraction | None, short_side: int) -> tuple[int, int]:
    """Upright (width, height), both even. Non-square pixels are scaled in width, as in players."""
    aspect = pixel_aspect if pixel_aspect and 1 / _WIDEST_PIXEL <= pixel_aspect <= _WIDEST_PIXEL else Fraction(1)
    width, height = frame.width * aspect, Fraction(frame.height)
    if quarter_turns(frame) % 2:
        width, height = height, width
    shrink = min(Fraction(1), Fraction(short_side) / min(width, height))
    # Without shrinking, an odd side loses a pixel, as nothing is enlarged.
    bias = Fraction(1, 2) if shrink < 1 or aspect != 1 else Fraction(0)
    return max(2, 2 * int(width * shrink / 2 + bias)), max(2, 2 * int(height * shrink / 2 + bias))


def render(frame: VideoFrame, width: int, height: int, target_range: ColorRange) -> VideoFrame:
    """Convert to 8-bit 4:2:0 in BT.601 and ``target_range``; ``width`` and ``height`` are those of the upright picture.

    Raises:
        ValueError: this PyAV does not know the frame's matrix.
    """
    turns = quarter_turns(frame)
    source = _Colors(*colors_of(frame))
    if turns or source.matrix != Colorspace.ITU601 or not frame.format.name.startswith("yuv"):
        # Through RGB: rotating subsampled planes shifts the colors, and swscale converts matrices less exactly.
        stored = (height, width) if turns % 2 else (width, height)
        full = _Colors(source.matrix, ColorRange.JPEG)
        rgb = _convert(frame, stored, "rgb24", source, full).to_ndarray()
        upright: Any = np.ascontiguousarray(np.rot90(rgb, k=turns))
        frame = VideoFrame.from_ndarray(upright, format="rgb24")
        source = full
    of_bt601 = _Colors(Colorspace.ITU601, source.range)
    picture = _convert(frame, (width, height), "yuv420p", of_bt601, _Colors(Colorspace.ITU601, target_range))
    picture.colorspace, picture.color_range = BT601_TAG, int(target_range)
    picture.pict_type = 0  # the source's types would force keyframes
    return picture


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
