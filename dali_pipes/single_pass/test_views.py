"""Scan a video and read its test views in one decode. Runs in a worker: numpy, av and OpenCV only.

Note [How one decode suffices]
Which frames a view takes depends on the number of frames, which only a full decode tells. So the packets are counted
first, without decoding. The scan then decodes every frame, as always, and the frames that the views of a video of so
many frames take are kept, cropped and resized. If the scan finds another number of frames (a damaged file, pictures
that are hidden), the video is decoded again for its views. The pixels are those of the loader on a CPU, to the bit.

Shape letters: V test views, T frames, H height, W width, C = 3 color channels.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.video.frame import VideoFrame

from dali_pipes.decode.demux import packets_of
from dali_pipes.decode.picture_shape import PixelShape, orientation_of
from dali_pipes.decode.pyav import Window, first_frames, open_video, open_video_stream
from dali_pipes.loader.cpu_render import RenderPlan
from dali_pipes.sampling.clip_plan import ClipPlan, Crop, VideoShape, plan_clip
from dali_pipes.sampling.spec import SamplingRules
from dali_pipes.scan.probe import one_line, probe
from dali_pipes.video_info import VideoInfo

Kept = Mapping[tuple[int, Crop], np.ndarray]  # (frame number, crop) -> uint8 HWC


@dataclass(frozen=True)
class ViewsRule:
    """How a video becomes the student's test views.

    Args:
        rules: of evaluation, for the student's view alone.
        render: the student's view alone.
    """

    rules: SamplingRules
    render: RenderPlan

    @property
    def num_bytes(self) -> int:
        """Bytes of a video's views."""
        height, width = self.render.enlarged_size or self.render.student_size
        num_frames = self.rules.student.num_frames or self.rules.num_frames
        return self.rules.test_views.num_test_views * num_frames * height * width * 3


class VideoViews(NamedTuple):
    """The test views of one video.

    Args:
        video_info: as the scan finds it, without a packet index.
        frames_VTHWC: uint8 RGB; None if the video has no usable frame or its frames cannot be read.
        valid_VT: bool, False for a frame that repeats the one before.
        num_decodes: how often the video was decoded for them.
        error: why there are no frames although the scan finds some; else empty.
    """

    video_info: VideoInfo
    frames_VTHWC: np.ndarray | None = None
    valid_VT: np.ndarray | None = None
    num_decodes: int = 1
    error: str = ""


def read_test_views(rule: ViewsRule, path: str) -> VideoViews:
    """Read one file. See Note [How one decode suffices]. Damage is reported in ``video_info.health``."""
    keeper = _Keeper(rule, path)
    video_info = probe(path, keep=keeper).video_info
    if not video_info.usable:
        return VideoViews(video_info)
    shape = _shape_of(video_info)
    num_decodes = 1
    try:
        if keeper.shape != shape:
            num_decodes, keeper = 2, _Keeper(rule, path, shape)
            for frame in first_frames(Path(path), video_info.num_frames, stream=video_info.stream):
                keeper.add(frame)
        if keeper.error:
            return VideoViews(video_info, num_decodes=num_decodes, error=keeper.error)
        frames_VTHWC, valid_VT = _stack(_plans(rule, shape), keeper.kept)
    except (ValueError, OSError, av.error.FFmpegError) as error:
        return VideoViews(video_info, num_decodes=num_decodes, error=one_line(error))
    return VideoViews(video_info, frames_VTHWC, valid_VT, num_decodes)


def read_numbered(rule: ViewsRule, item: tuple[int, str]) -> VideoViews:
    """As ``read_test_views`` for the path of (number, path): what a worker does in a list that may name a path twice.

    It is here, as a worker imports the module of its function, and this one needs no torch.
    """
    return read_test_views(rule, item[1])


class _Keeper:
    """Renders the wanted frames of a decode as they pass; the rest is not kept."""

    def __init__(self, rule: ViewsRule, path: str, shape: VideoShape | None = None) -> None:
        self._rule, self._path, self._known = rule, path, shape
        self.begin()

    def begin(self) -> None:
        """A decode starts at the first frame."""
        self.kept: dict[tuple[int, Crop], np.ndarray] = {}
        self.shape: VideoShape | None = self._known
        self.error = ""
        self._number = 0
        self._crops: Mapping[int, set[Crop]] = {}
        self._window: tuple[int, int, int, bool] | None = None

    def add(self, frame: VideoFrame, pixels: PixelShape | None = None) -> None:
        """Take the next frame; ``pixels`` is the shape of the first one's, unless the shape of the video is known."""
        if self._window is None:
            self._start(frame, pixels or PixelShape())
        for crop in self._crops.get(self._number, ()) if not self.error else ():
            try:
                self.kept[self._number, crop] = self._render(frame, crop)
            except (ValueError, av.error.FFmpegError) as error:
                self.error = one_line(error)
        self._number += 1

    def _start(self, frame: VideoFrame, pixels: PixelShape) -> None:
        orientation = orientation_of(frame)
        self._window = (orientation.rotation, frame.width, frame.height, orientation.mirrored)
        if self.shape is None:
            self.shape = _shape(count_packets(self._path), frame.height, frame.width, orientation.rotation, pixels)
        self._crops = _wanted(_plans(self._rule, self.shape)) if self.shape.num_frames else {}

    def _render(self, frame: VideoFrame, crop: Crop) -> np.ndarray:
        assert self._window is not None
        rotation, width, height, mirrored = self._window
        picture = Window(crop, rotation, width, height, mirrored=mirrored).cut(frame)
        view_1HWC: np.ndarray = self._rule.render.render([picture], student_frames=[0], flip=False)["student"]
        return view_1HWC[0]


def count_packets(path: str | Path) -> int:
    """Count the packets that show a frame, without decoding; 0 if the file does not open."""
    try:
        with open_video(path) as container:
            stream = open_video_stream(container)
            count = 0
            try:
                for packet in packets_of(container, stream):
                    count += bool(packet.size) and not packet.is_discard
            except av.error.FFmpegError:
                pass  # the end of a truncated file
            return count
    except (ValueError, OSError, av.error.FFmpegError):
        return 0


def _shape_of(found: VideoInfo) -> VideoShape:
    pixels = PixelShape(found.pixel_width, found.pixel_height)
    return _shape(found.num_frames, found.height, found.width, found.rotation, pixels)


def _shape(num_frames: int, height: int, width: int, rotation: int, pixels: PixelShape) -> VideoShape:
    aspect = pixels.width / pixels.height
    if rotation % 180:
        return VideoShape(num_frames, width, height, 1 / aspect)
    return VideoShape(num_frames, height, width, aspect)


def _plans(rule: ViewsRule, shape: VideoShape) -> list[ClipPlan]:
    """A plan for each test view; the same for a video whatever other videos there are."""
    views = range(rule.rules.test_views.num_test_views)
    return [plan_clip(rule.rules, shape, seed=0, position=view, attempt=0, row=0) for view in views]


def _wanted(plans: list[ClipPlan]) -> Mapping[int, set[Crop]]:
    wanted: dict[int, set[Crop]] = defaultdict(set)
    for plan in plans:
        for number in plan.frame_index_T.tolist():
            wanted[number].add(plan.crop)
    return wanted


def _stack(plans: list[ClipPlan], kept: Kept) -> tuple[np.ndarray, np.ndarray]:
    frames = [np.stack([kept[number, plan.crop] for number in plan.frame_index_T.tolist()]) for plan in plans]
    return np.stack(frames), np.stack([plan.student_valid_k for plan in plans])
