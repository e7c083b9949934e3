"""Which videos a GPU's decoder can decode right, from what its driver and earlier checks say.

Note [Hidden pictures and fields]
DALI's decoder for GPUs counts each decoded picture as one frame that is shown (DALI 2.4, read in its sources). VP8,
VP9 and AV1 have pictures that are only referred to, AV1 and VP9 show a picture again without decoding one, and H.264
may code a frame as two fields. Each of these would shift all later frames, without an error. So only H.264 and HEVC of
whole frames are decoded on a GPU, until ``reskd gpu-check`` has found the frames of another codec right on this
machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from dali_pipes.video_info import VideoInfo

SURE_CODECS = frozenset({"h264", "hevc"})
_MACROBLOCK = 16  # side in pixels


class PictureLimits(NamedTuple):
    """The coded sizes of one codec that a decoder takes, in pixels; ``max_macroblocks``: of 16 x 16 pixels."""

    min_width: int
    min_height: int
    max_width: int
    max_height: int
    max_macroblocks: int


@dataclass(frozen=True)
class Nvdec:
    """A GPU's video decoder.

    Args:
        problem: why it cannot be used at all; empty if it can.
        limits: by FFmpeg's name of the codec, for 8 bits and 4:2:0; a codec that is missing is not decoded. None: the
            driver was not asked, and nothing is refused.
        num_engines: decoders on the chip, which work side by side; 0 if unknown.
        proven, wrong: codecs whose frames ``reskd gpu-check`` found right, and wrong, on this machine.
    """

    problem: str = ""
    limits: Mapping[str, PictureLimits] | None = None
    num_engines: int = 0
    proven: frozenset[str] = frozenset()
    wrong: frozenset[str] = frozenset()

    def why_unable(self, video_info: VideoInfo) -> str | None:
        """Why it cannot decode the video, or None. Equal for all videos that fail for the same reason."""
        if self.problem:
            return self.problem
        if self.limits is None:
            return None
        codec = video_info.codec
        if codec not in self.limits:
            return f"this GPU's video decoder has no {codec}"
        width, height = video_info.coded_width or video_info.width, video_info.coded_height or video_info.height
        limits = self.limits[codec]
        if width < limits.min_width or height < limits.min_height:
            return f"this GPU decodes {codec} from {limits.min_width}x{limits.min_height} pixels on"
        macroblocks = -(-width // _MACROBLOCK) * -(-height // _MACROBLOCK)
        if width > limits.max_width or height > limits.max_height or macroblocks > limits.max_macroblocks:
            return f"this GPU decodes {codec} up to {limits.max_width}x{limits.max_height} pixels"
        return None

    def why_unsure(self, video_info: VideoInfo) -> str | None:
        """Why its frames may be wrong; see Note [Hidden pictures and fields]."""
        if video_info.codec in self.wrong:
            return f"reskd gpu-check found wrong frames of {video_info.codec} on this GPU"
        if video_info.codec not in SURE_CODECS | self.proven:
            return f"{video_info.codec} on a GPU is not proven (reskd gpu-check)"
        if video_info.codec == "h264" and video_info.interlaced:
            return "it may hold fields"
        return None


NOT_ASKED = Nvdec()
