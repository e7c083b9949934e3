"""The frames of a whole video at so many a second, cropped and resized as in evaluation. A worker's part: numpy and av.

Shape letters: T frames, H height, W width, C = 3 color channels.

When each frame of a video is on the screen, and which frames a rate of so many a second takes.

Note [Which frame shows at a time]
A rate r asks for the times 0, 1/r, 2/r, ... before the video's end, counted from its first frame. At each of them the
frame on the screen is taken: the last that began at or before it. Where the rate is above the video's own, every frame
is taken once. The times are those of the packets, as the container tells them, so a variable rate is kept:

    begins at   0.0  0.4  0.5  2.6      one a second: times 0, 1, 2, and 3 if the last is shown till then
    frame         0    1    2    3      frames 0, 2, 2, 3 -> 0, 2, 3

Where packets have no times (AVI) or there are fewer of them than frames, frame i begins at i / the stream's mean rate.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import av
import numpy as np

from dali_pipes.decode.pyav import open_video, open_video_stream
from dali_pipes.loader.clip_reader import ClipReader
from dali_pipes.loader.cpu_render import RenderPlan
from dali_pipes.manifest.manifest import ManifestRow
from dali_pipes.sampling.clip_plan import ClipPlan
from dali_pipes.sampling.crops import choose_crop
from dali_pipes.sampling.spec import SamplingRules
from dali_pipes.storage.tar_index import read_member

# Whole frames that lie in memory at a time: a clip's are decoded before they are made small.
_BYTES_AT_ONCE = 512 << 20
_LEAST_AT_ONCE = 16


@dataclass(frozen=True)
class TimedReader:
    """Reads whole videos.

    Args:
        rate: frames a second.
        max_frames: what a video has beyond is left out.
        rules: of the crop.
        render: the one view to make; of all frames, also where it is the student's.
        folder_rate: frames a second of folders of JPEG files, which do not say it; None: such folders are refused.
    """

    rate: float
    max_frames: int
    rules: SamplingRules
    render: RenderPlan
    folder_rate: float | None = None

    def read(self, row: ManifestRow) -> TimedFrames:
        """The frames of one video; what is wrong with it is said in place of them."""
        try:
            numbers_T = frames_at_rate(self._times(row), self.rate, most=self.max_frames)
            return TimedFrames(numbers_T, self._decode(row, numbers_T))
        except (ValueError, OSError, av.error.FFmpegError) as error:
            return TimedFrames.bad(" ".join(str(error).split()))

    def _times(self, row: ManifestRow) -> FrameTimes:
        video_info = row.video_info
        if row.template:
            if self.folder_rate is None:
                raise ValueError("a folder of frames has no times; give --folder-fps, its frames a second.")
            return even_times(video_info.num_frames, self.folder_rate)
        video = io.BytesIO(read_member(row.shard, video_info.start, video_info.file_size)) if row.shard else row.path
        return read_frame_times(video, video_info.num_frames)

    def _decode(self, row: ManifestRow, numbers_T: np.ndarray) -> np.ndarray:
        height, width = row.upright_size
        crop = choose_crop(self.rules, (), height, width)
        reader = ClipReader("cpu", "pyav", render=self.render)
        at_once = max(_LEAST_AT_ONCE, _BYTES_AT_ONCE // (height * width * 3))
        parts = []
        for start in range(0, len(numbers_T), at_once):
            wanted = numbers_T[start : start + at_once]
            all_T, valid_T = np.arange(len(wanted), dtype=np.int32), np.ones(len(wanted), bool)
            clip = reader.read(ClipPlan(0, 0, 0, wanted, valid_T, all_T, valid_T, crop, flip=False), row)
            parts.append(clip.teacher_THWC if "teacher" in self.render.names else clip.student_THWC)
        return np.concatenate(parts)


class TimedFrames(NamedTuple):
    """What one video gave.

    Args:
        numbers_T: int32, the frames' numbers in the output order of a full decode.
        frames_THWC: uint8 RGB; (0, 1, 1, 3) where nothing could be read.
        error: why; empty where all is well.
    """

    numbers_T: np.ndarray
    frames_THWC: np.ndarray
    error: str = ""

    @staticmethod
    def bad(reason: str) -> TimedFrames:
        """A video that gave nothing."""
        return TimedFrames(np.empty(0, np.int32), np.empty((0, 1, 1, 3), np.uint8), reason)


# Containers round to ticks: a frame that begins so little after a wanted time is the one meant. The smaller counts.
_ROUNDING_STEPS, _ROUNDING_S = 1e-3, 1e-3


class FrameTimes(NamedTuple):
    """Seconds from the first frame of a video.

    Args:
        begin_M: float64, when each of the M frames appears, rising.
        end: when the last one goes.
    """

    begin_M: np.ndarray
    end: float


def even_times(num_frames: int, rate: float) -> FrameTimes:
    """Frames equally far apart, ``rate`` of them a second."""
    return FrameTimes(np.arange(num_frames) / rate, num_frames / rate)


def read_frame_times(video: Path | BinaryIO, num_frames: int) -> FrameTimes:
    """The times of a video's frames from its packets; nothing is decoded. See Note [Which frame shows at a time].

    Args:
        num_frames: as the scan found; packets beyond are left out.

    Raises:
        ValueError: neither the packets nor the stream have a time.
        av.error.FFmpegError: the file does not open.
    """
    with open_video(video) as container:
        stream = open_video_stream(container)
        rate = stream.average_rate or stream.guessed_rate
        tick = stream.time_base
        stamps: list[int] = []
        try:
            for packet in container.demux(stream):
                if packet.size and packet.pts is not None and not packet.is_discard:
                    stamps.append(packet.pts)
        except av.error.FFmpegError:
            pass  # of a file that is cut; what came before is as good as the frames that the scan counted
    known = np.unique(np.array(stamps, np.int64))[:num_frames]
    if tick and len(known) == num_frames:
        begin_M = (known - known[0]) * float(tick)
        # The last frame is shown as long as most are.
        last_s = float(np.median(np.diff(begin_M))) if num_frames > 1 else (float(1 / rate) if rate else 1.0)
        return FrameTimes(begin_M, float(begin_M[-1]) + last_s)
    if not rate:
        raise ValueError("neither its packets nor its stream have a time; expected a video with a frame rate.")
    return even_times(num_frames, float(rate))


def frames_at_rate(times: FrameTimes, rate: float, *, most: int) -> np.ndarray:
    """int32 frame numbers, rising, each once, at most ``most``: those on the screen ``rate`` times a second.

    Frame 0 always is one of them. See Note [Which frame shows at a time].
    """
    edges = np.ceil(np.append(times.begin_M, times.end) * rate - min(_ROUNDING_STEPS, _ROUNDING_S * rate))
    edges[0], edges[1:] = 0, np.maximum(edges[1:], 1)  # a second frame that begins within the rounding is not the first
    # Frame i shows at the times number edges[i] to edges[i + 1] - 1.
    return np.flatnonzero(np.diff(edges) > 0)[:most].astype(np.int32)
