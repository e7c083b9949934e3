"""Read a whole video at a frame rate, cropped and resized as in evaluation. Runs in a worker: numpy and av only.

Shape letters: T frames, H height, W width, C = 3 color channels.

Note [Which frame shows at a time]
A rate r samples the times 0, 1/r, 2/r, ... before the video's end, counted from its first frame. At each time it takes
the frame on the screen: the last one that began at or before that time. If the rate is above the video's own, every
frame is taken once. The times are the packets' timestamps in the container, so a variable rate is respected:

    begins at   0.0  0.4  0.5  2.6      1 fps: times 0, 1, 2, and 3 if the last frame lasts until then
    frame         0    1    2    3      frames 0, 2, 2, 3 -> 0, 2, 3

If packets have no timestamps (AVI) or are fewer than the frames, frame i begins at i / the stream's mean rate.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import av
import numpy as np

from dali_pipes.decode.demux import packets_of
from dali_pipes.decode.pyav import open_video, open_video_stream
from dali_pipes.loader.clip_reader import ClipReader
from dali_pipes.loader.cpu_render import RenderPlan
from dali_pipes.loader.decoder_choice import BY_PYAV
from dali_pipes.manifest.manifest import ManifestRow
from dali_pipes.sampling.clip_plan import ClipPlan
from dali_pipes.sampling.crops import choose_crop
from dali_pipes.sampling.spec import SamplingRules
from dali_pipes.storage.tar_index import read_member

# Limits on the full-size frames in memory: a clip is decoded before it is resized.
_BYTES_AT_ONCE = 512 << 20
_LEAST_AT_ONCE = 16
# Containers round to ticks: a frame that begins this little after a wanted time is taken. The smaller limit applies.
_ROUNDING_STEPS, _ROUNDING_S = 1e-3, 1e-3


@dataclass(frozen=True)
class TimedReader:
    """Reads whole videos.

    Args:
        rate: frames per second.
        max_frames: a video's frames beyond this number are left out.
        rules: rules of the crop.
        render: the one view to render, of all frames even if it is the student's.
        folder_rate: frames per second of folders of JPEG files, which do not store it; None: such folders are refused.
    """

    rate: float
    max_frames: int
    rules: SamplingRules
    render: RenderPlan
    folder_rate: float | None = None

    def read(self, row: ManifestRow) -> TimedFrames:
        """Read the frames of one video, or the error in place of them."""
        try:
            numbers_T = frames_at_rate(self._times(row), self.rate, most=self.max_frames)
            return TimedFrames(numbers_T, self._decode(row, numbers_T))
        except (ValueError, OSError, av.error.FFmpegError) as error:
            return TimedFrames.bad(" ".join(str(error).split()))

    def _times(self, row: ManifestRow) -> FrameTimes:
        video_info = row.video_info
        if row.template:
            if self.folder_rate is None:
                raise ValueError("a folder of frames has no timestamps; set --folder-fps, its frames per second.")
            return even_times(video_info.num_frames, self.folder_rate)
        video = io.BytesIO(read_member(row.shard, video_info.start, video_info.file_size)) if row.shard else row.path
        return read_frame_times(video, video_info.num_frames, stream=video_info.stream)

    def _decode(self, row: ManifestRow, numbers_T: np.ndarray) -> np.ndarray:
        height, width = row.upright_size
        crop = choose_crop(self.rules, (), height, width, pixel_aspect=row.upright_pixel_aspect)
        reader = ClipReader(BY_PYAV, render=self.render)
        at_once = max(_LEAST_AT_ONCE, _BYTES_AT_ONCE // (height * width * 3))
        parts = []
        for start in range(0, len(numbers_T), at_once):
            wanted = numbers_T[start : start + at_once]
            all_T, valid_T = np.arange(len(wanted), dtype=np.int32), np.ones(len(wanted), bool)
            clip = reader.read(ClipPlan(0, 0, 0, wanted, valid_T, all_T, valid_T, crop, flip=False), row)
            parts.append(clip.teacher_THWC if "teacher" in self.render.names else clip.student_THWC)
        return np.concatenate(parts)


class TimedFrames(NamedTuple):
    """Frames of one video, or the error.

    Args:
        numbers_T: int32, frame indices in the output order of a full decode.
        frames_THWC: uint8 RGB; (0, 1, 1, 3) if nothing could be read.
        error: the reason of a failure; else empty.
    """

    numbers_T: np.ndarray
    frames_THWC: np.ndarray
    error: str = ""

    @staticmethod
    def bad(reason: str) -> TimedFrames:
        """The result of a video that could not be read."""
        return TimedFrames(np.empty(0, np.int32), np.empty((0, 1, 1, 3), np.uint8), reason)


class FrameTimes(NamedTuple):
    """Seconds from the first frame of a video.

    Args:
        begin_M: float64, start of each of the M frames, increasing.
        end: end of the last frame.
    """

    begin_M: np.ndarray
    end: float


def even_times(num_frames: int, rate: float) -> FrameTimes:
    """Evenly spaced frames, ``rate`` per second."""
    return FrameTimes(np.arange(num_frames) / rate, num_frames / rate)


def read_frame_times(video: Path | BinaryIO, num_frames: int, *, stream: int | None = None) -> FrameTimes:
    """Read the times of a video's frames from its packets, without decoding. See Note [Which frame shows at a time].

    Args:
        num_frames: number of frames that the scan found; packets beyond it are left out.
        stream: number of the stream in the file, as scanned; None: as ``open_video_stream`` chooses.

    Raises:
        ValueError: the packets have no timestamps and the stream no frame rate.
        av.error.FFmpegError: the file does not open.
    """
    with open_video(video) as container:
        opened = open_video_stream(container, number=stream)
        rate = opened.average_rate or opened.guessed_rate
        tick = opened.time_base
        stamps: list[int] = []
        try:
            for packet in packets_of(container, opened):
                if packet.size and packet.pts is not None and not packet.is_discard:
                    stamps.append(packet.pts)
        except av.error.FFmpegError:
            pass  # truncated file; the earlier packets are as valid as the frames that the scan counted
    known = np.unique(np.array(stamps, np.int64))[:num_frames]
    if tick and len(known) == num_frames:
        begin_M = (known - known[0]) * float(tick)
        # The last frame lasts as long as the median frame.
        last_s = float(np.median(np.diff(begin_M))) if num_frames > 1 else (float(1 / rate) if rate else 1.0)
        return FrameTimes(begin_M, float(begin_M[-1]) + last_s)
    if not rate:
        raise ValueError("expected packets with timestamps or a stream with a frame rate, found neither.")
    return even_times(num_frames, float(rate))


def frames_at_rate(times: FrameTimes, rate: float, *, most: int) -> np.ndarray:
    """Sample frames ``rate`` times per second: int32 indices, increasing, without repeats, at most ``most``.

    Frame 0 is always included. See Note [Which frame shows at a time].
    """
    edges = np.ceil(np.append(times.begin_M, times.end) * rate - min(_ROUNDING_STEPS, _ROUNDING_S * rate))
    edges[0], edges[1:] = 0, np.maximum(edges[1:], 1)  # a second frame that begins within the rounding is not the first
    # Frame i is on the screen at the sampled times number edges[i] to edges[i + 1] - 1.
    return np.flatnonzero(np.diff(edges) > 0)[:most].astype(np.int32)
