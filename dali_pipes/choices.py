"""Closed choices shared by configs, command lines and the code. Only the standard library is imported: parsers and
loader workers import this file and must start quickly."""

from __future__ import annotations

from typing import Literal

DecoderChoice = Literal["auto", "prefer_dali", "dali", "pyav"]

# Where decoded frames are kept: loader/frame_cache.py.
CacheChoice = Literal["none", "ram", "disk"]

# How the student's k frames are selected from a clip's T: sampling/student_frames.py.
ClipFrameSelection = Literal["uniform", "random", "first", "middle", "last", "first_middle_last"]
# The same for the frames of a video's features.
FrameSelection = Literal[ClipFrameSelection, "every_jth_of_300"]

# The shape of a picture: as players show it, or as if its stored pixels were square.
PixelAspect = Literal["display", "stored"]

# How often training reads the videos of each class: sampling/class_order.py.
ClassSampling = Literal["natural", "balanced"]

# Codecs that transcode/ writes, and their default quality: CRF of H.264, quantizer of MJPEG; lower is better.
TranscodeCodec = Literal["h264", "mjpeg"]
DEFAULT_QUALITY: dict[TranscodeCodec, int] = {"h264": 20, "mjpeg": 4}

# How a list of videos is read: annotations/line_lists.py and csv_lists.py.
ListFormat = Literal["auto", "csv", "ucf", "numbers", "frames_numbers", "names", "kinetics"]
ListReading = Literal[ListFormat, "folders", "shards"]

# Where jobs over many files run: jobs/map_files.py.
EngineName = Literal["local", "ray"]

# Formats of the demo's videos: synthetic/data_set.py.
DemoFormat = Literal["mixed", "h264", "vp9", "mjpeg"]
