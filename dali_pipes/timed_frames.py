"""The frames of a whole video at so many a second, cropped and resized as in evaluation. A worker's part: numpy and av.

Shape letters: T frames, H height, W width, C = 3 colour channels.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import NamedTuple

import av
import numpy as np

from dali_pipes.clip_reader import ClipReader
from dali_pipes.crops import choose_crop
from dali_pipes.frame_times import FrameTimes, even_times, frames_at_rate, read_frame_times
from dali_pipes.host_render import RenderPlan
from dali_pipes.manifest import ManifestRow
from dali_pipes.sampling import ClipPlan
from dali_pipes.sampling_rules import SamplingRules
from dali_pipes.tar_members import read_member

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
        facts = row.facts
        if row.template:
            if self.folder_rate is None:
                raise ValueError("a folder of frames has no times; give --folder-fps, its frames a second.")
            return even_times(facts.num_frames, self.folder_rate)
        video = io.BytesIO(read_member(row.shard, facts.start, facts.file_size)) if row.shard else row.path
        return read_frame_times(video, facts.num_frames)

    def _decode(self, row: ManifestRow, numbers_T: np.ndarray) -> np.ndarray:
        height, width = row.upright_size
        crop = choose_crop(self.rules, (), height, width)
        reader = ClipReader("cpu", "host", render=self.render)
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
