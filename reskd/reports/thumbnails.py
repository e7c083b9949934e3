"""Small pictures of videos for a page: the middle frame, as a data URI of a few kilobytes."""

from __future__ import annotations

import base64

import numpy as np

from dali_pipes.loader.clip_reader import ClipReader
from dali_pipes.loader.decoder_choice import BY_PYAV
from dali_pipes.manifest.manifest import ManifestRow
from dali_pipes.sampling.clip_plan import VideoShape, plan_clip
from dali_pipes.sampling.spec import rules_from_config
from dali_pipes.sampling_config import SamplingConfig

_WIDTH, _HEIGHT, _QUALITY = 200, 150, 55
_MOST_BYTES = 40_000


def thumbnail_of(row: ManifestRow) -> str:
    """The central 4:3 part of the middle frame, upright, at most 200 x 150 pixels, as a JPEG's data URI.

    Raises:
        ValueError: the file differs from the scanned one, or cannot be decoded.
        OSError: it cannot be read.
    """
    rules = rules_from_config(SamplingConfig(num_frames=1, test_crop_ratio=1), view_size=(_HEIGHT, _WIDTH), mode="eval")
    shape = VideoShape(row.video_info.num_frames, *row.upright_size, row.upright_pixel_aspect)
    plan = plan_clip(rules, shape, seed=0, position=0, attempt=0, row=0)
    return as_data_uri(ClipReader(BY_PYAV).read(plan, row).raw_THWC[0])


def as_data_uri(frame_HWC: np.ndarray) -> str:
    """A JPEG of uint8 RGB (H, W, 3), shown as 4:3, at most 200 x 150 pixels; pixels may have any aspect ratio."""
    import cv2

    width = min(frame_HWC.shape[1], _WIDTH)
    size = width, max(1, round(width * _HEIGHT / _WIDTH))
    small = cv2.resize(frame_HWC, size, interpolation=cv2.INTER_AREA)
    done, data = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not done or len(data) > _MOST_BYTES:
        raise ValueError(f"expected a picture that JPEG can hold, found {frame_HWC.shape = }.")
    return f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"
