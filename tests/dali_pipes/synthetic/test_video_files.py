from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from dali_pipes.synthetic.video_files import CODECS, encode
from dali_pipes.synthetic.videos import HEIGHT, NUM_FRAMES, WIDTH, render_scene_clips


@pytest.mark.parametrize("name", list(CODECS))
def test_each_codec_keeps_every_frame_and_nearly_every_pixel(name: str, tmp_path: Path) -> None:
    codec = CODECS[name]
    frames_THWC = next(render_scene_clips(0, split="train", scene=0)).frames_THWC
    path = tmp_path / f"clip{codec.suffix}"
    encode(path, frames_THWC, codec)
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name.startswith(name)
        decoded = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    assert decoded.shape == (NUM_FRAMES, HEIGHT, WIDTH, 3)
    luma = np.asarray([0.299, 0.587, 0.114])
    assert np.abs((decoded - frames_THWC.astype(float)) @ luma).mean() < 6


def test_a_missing_encoder_is_named(tmp_path: Path) -> None:
    codec = CODECS["h264"]._replace(encoder="libnone")
    with pytest.raises(ValueError, match=r"encoder libnone.*--format"):
        encode(tmp_path / "clip.mp4", np.zeros((2, 96, 112, 3), np.uint8), codec)
