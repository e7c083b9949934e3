"""The inputs on which an exported student is compared: random ones and, for a student of frames, real clips.

Shape letters: N clips, T frames, H W heights and widths, C = 3 colors, D features of a frame.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from dali_pipes.annotations.lists import VIDEO_SUFFIXES
from dali_pipes.sampling.spec import ONE_TEST_VIEW
from reskd.inference.answers import Answer, VideoSettings
from reskd.inference.export import CHECKED_BATCH_SIZES, Inputs, asks_which_are_valid
from reskd.inference.student import TrainedStudent
from reskd.inference.videos import answer_videos

log = logging.getLogger(__name__)

_NUM_CLIPS = max(CHECKED_BATCH_SIZES)
_MOST_FILES = 3  # of the checkpoint's data


def clips_to_compare(student: TrainedStudent, given: Sequence[str] | None) -> dict[str, Inputs]:
    """Name -> inputs, the same in every call.

    Args:
        given: videos; None: some of the checkpoint's data, or a synthetic clip if they are not here.

    Raises:
        ValueError: videos for a student of features, or no readable video.
    """
    torch.manual_seed(0)
    if len(student.shape) == 2:
        if given:
            raise ValueError("--clips: expected none, as this student takes features, not videos; leave --clips out.")
        return _random_features(student.shape)
    return _frames(student, given)


def _random_features(shape: tuple[int, ...]) -> dict[str, Inputs]:
    """Videos of every length, 0 included."""
    num_frames, feature_dim = shape
    features_NTD = torch.randint(0, 256, (_NUM_CLIPS, num_frames, feature_dim), dtype=torch.uint8)
    lengths_N1 = torch.randint(0, num_frames + 1, (_NUM_CLIPS, 1))
    return {"random": (features_NTD, torch.arange(num_frames) < lengths_N1)}


def _frames(student: TrainedStudent, given: Sequence[str] | None) -> dict[str, Inputs]:
    random_NTHWC = torch.randint(0, 256, (_NUM_CLIPS, *student.shape, 3), dtype=torch.uint8)
    clips = {"random": random_NTHWC, **_real_clips(student, given)}
    if not asks_which_are_valid(student.model.config):
        return {name: (frames_NTHWC,) for name, frames_NTHWC in clips.items()}
    valid_NT = torch.rand(_NUM_CLIPS, student.shape[0]) < 0.5
    valid_NT[:, 0] = True
    return {name: (frames, valid_NT[torch.arange(len(frames)) % _NUM_CLIPS]) for name, frames in clips.items()}


def _real_clips(student: TrainedStudent, given: Sequence[str] | None) -> dict[str, Tensor]:
    """name -> frames_NTHWC: the student's view of the given videos, of its own data, or of a synthetic clip."""
    files = list(given or _own_videos(student))
    answers = answer_videos(student, files, VideoSettings(ONE_TEST_VIEW, scan="index_only")) if files else ()
    seen = [answer.frames_THWC for answer in answers if isinstance(answer, Answer)]
    if seen:
        return {"real": torch.stack(seen)}
    if given:
        raise ValueError(f"--clips: expected videos, found none that can be read in {', '.join(given)}.")
    log.info("none of the checkpoint's videos is here: using a synthetic clip")
    return {"made": _made_clip(student.shape)[None]}


def _own_videos(student: TrainedStudent) -> Iterator[str]:
    """Some videos of the student's training data, if they are files on this machine."""
    data = student.config.clips
    if data.storage.kind != "videos" or not data.root.is_dir():
        return iter(())
    videos = (str(path) for path in data.root.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file())
    return itertools.islice(videos, _MOST_FILES)


def _made_clip(shape: tuple[int, ...]) -> Tensor:
    """uint8 frames_THWC: a ramp of each color, moving with time."""
    num_frames, height, width = shape
    time_T11 = torch.arange(num_frames).view(-1, 1, 1) / num_frames
    y_1H1 = torch.arange(height).view(1, -1, 1) / height
    x_11W = torch.arange(width).view(1, 1, -1) / width
    ramps = (y_1H1 + time_T11 + 0 * x_11W, x_11W + time_T11 + 0 * y_1H1, x_11W + y_1H1 + time_T11)
    return (torch.stack(ramps, dim=-1) % 1 * 255).to(torch.uint8)
