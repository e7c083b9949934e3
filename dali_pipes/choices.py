"""Closed choices that configs, command lines and the code share. Standard library only: parsers and loader workers
import it and must start at once."""

from __future__ import annotations

from typing import Literal

DecoderChoice = Literal["auto", "prefer_dali", "dali", "pyav"]

# Of a clip's T frames, the student's k: sampling/student_frames.py.
ClipFrameSelection = Literal["uniform", "random", "first", "middle", "last", "first_middle_last"]
# Of a video's frames that came as features.
FrameSelection = Literal[ClipFrameSelection, "every_jth_of_300"]

# What transcode/ writes, and its quality where none is given: CRF of H.264, quantizer of MJPEG; lower is better.
TranscodeCodec = Literal["h264", "mjpeg"]
DEFAULT_QUALITY: dict[TranscodeCodec, int] = {"h264": 20, "mjpeg": 4}

# What the demo's videos are written as: synthetic/data_set.py.
DemoFormat = Literal["mixed", "h264", "vp9", "mjpeg"]
