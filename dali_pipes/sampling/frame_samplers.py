"""Choose the frames of a clip. T frames of a clip, n frames of the video, V clips of an evaluation.

Note [Which frames, how often]
Training reaches every frame of every video sooner or later, for any n. Expected number of times a clip has a frame:

- ``segments``: T/n. One frame is drawn independently from each of T equal segments of the video (TSN,
  arXiv:1608.00859; MMAction2's UniformSampleFrames). In a video of fewer than T frames, segments share frames.
- ``uniform``: T/n. Frames are n/T apart with one random phase, so they are evenly spaced in time: every j-th frame, as
  for the uniform students of "Efficient Video Classification Using Fewer Frames" (CVPR 2019), but from a random start.
- ``dense``: frames ``stride`` apart from a random start, as in I3D, SlowFast and Video Swin. All S starts are equally
  likely: T/S in the middle of a long video, falling to 1/S for its first and last ``stride`` frames. A video shorter
  than T * stride has S = min(stride, n) starts; otherwise only every stride-th of its frames would ever be used.

Evaluation is not random:

- ``segments``, ``uniform``: clip v takes its frames at offset (v/V + 1/2) mod 1 of each segment: the centers for V = 1;
  centers and starts for V = 2, which is TSM's "twice sample" (arXiv:1811.08383); tenths for V = 10. Together the clips
  take V*T evenly spread frames, or all frames if n <= V*T.
- ``dense``, ``test_starts`` spread: the middle for V = 1, else starts evenly spread from the first possible to the
  last, both included, as in TSM's dense test, PySlowFast's use_offset and MMAction2 1.x.
- ``dense``, ``test_starts`` centers: the middles of V equal parts of [0, n - T * stride + 1), rounded down, as in
  MMAction2 0.x (SampleFrames._get_test_clips), under the ResKD paper's code. It counts a clip as T * stride frames.
- In a video shorter than a clip, the start is 0.
"""

from __future__ import annotations

import numpy as np

from dali_pipes.sampling.counter_rng import uniform
from dali_pipes.sampling.spec import SamplingRules


def choose_frames(
    rules: SamplingRules, key: tuple[int, ...], num_frames: int, *, clip: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Choose the frame indices of a clip, and mark repeats.

    Args:
        key: hash key of training's random choices.
        num_frames: n, frames of the video.
        clip: v, which of the evaluation's clips.

    Returns:
        int32 (T,), in [0, n), non-decreasing unless ``short_video`` is loop; bool (T,), False for a repeat: the same
        frame as before, or past the end.
    """
    if rules.frame_kind == "dense":
        return _dense_frames(rules, key, num_frames, clip)
    numbers_T = _segment_frames(rules, key, num_frames, clip)
    return numbers_T, np.concatenate(([True], np.diff(numbers_T) > 0))


def _segment_frames(rules: SamplingRules, key: tuple[int, ...], num_frames: int, clip: int) -> np.ndarray:
    """Segment i covers the time [i*n/T, (i+1)*n/T), and frame f covers [f, f+1)."""
    segments_T = np.arange(rules.num_frames)
    if rules.random_frames:
        inside_T = uniform(*key, segments_T if rules.frame_kind == "segments" else 0)
        timestamps_T = (segments_T + inside_T) * num_frames / rules.num_frames
        return np.minimum(timestamps_T.astype(np.int32), num_frames - 1)
    # In integers: if V clips rounded separately, some frames would be left out.
    num_clips = rules.test_views.num_temporal_clips
    inside = (2 * clip + num_clips) % (2 * num_clips)  # in 2V-ths of a segment
    numbers_T = (2 * num_clips * segments_T + inside) * num_frames // (2 * num_clips * rules.num_frames)
    return numbers_T.astype(np.int32)


def _dense_frames(
    rules: SamplingRules, key: tuple[int, ...], num_frames: int, clip: int
) -> tuple[np.ndarray, np.ndarray]:
    offsets_T = np.arange(rules.num_frames) * rules.stride
    last_start = max(num_frames - 1 - int(offsets_T[-1]), 0)
    if rules.random_frames:
        last_start = max(last_start, min(rules.stride, num_frames) - 1)
        start = int(uniform(*key, 0)[0] * (last_start + 1))
    else:
        start = _dense_test_start(rules, num_frames, last_start, clip)
    wanted_T = start + offsets_T
    inside_T = wanted_T < num_frames
    last = wanted_T[inside_T][-1]
    numbers_T = wanted_T % num_frames if rules.short_video == "loop" else np.minimum(wanted_T, last)
    return numbers_T.astype(np.int32), inside_T


def _dense_test_start(rules: SamplingRules, num_frames: int, last_start: int, clip: int) -> int:
    num_clips = rules.test_views.num_temporal_clips
    if rules.test_starts == "centers":
        num_starts = max(num_frames - rules.num_frames * rules.stride + 1, 0)
        return (2 * clip + 1) * num_starts // (2 * num_clips)
    if num_clips == 1:
        return last_start // 2
    gaps = num_clips - 1
    return (2 * clip * last_start + gaps) // (2 * gaps)  # rounded half up
