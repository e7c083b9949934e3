from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange

from dali_pipes.decode.picture_shape import Orientation
from dali_pipes.transcode.frame_conversion import Target, render
from tests.dali_pipes.streams import RECIPES, make


def test_an_interlaced_frame_is_converted_as_the_same_planes_without_the_flag(tmp_path: Path) -> None:
    with av.open(str(make(RECIPES["h264 mp4 interlaced"], tmp_path))) as container:
        frame = next(container.decode(video=0))
    assert frame.interlaced_frame
    planes = VideoFrame.from_ndarray(frame.to_ndarray(), format=frame.format.name)
    planes.colorspace, planes.color_range = frame.colorspace, frame.color_range
    target = Target(48, 32, 2, Orientation(0, False, ""), ColorRange.MPEG)
    found, expected = render(frame, target), render(planes, target)
    # Brightness alone: a decoded frame also says where its chroma lies, which an array does not.
    assert np.array_equal(found.to_ndarray()[:32], expected.to_ndarray()[:32])
    assert not found.interlaced_frame
