"""Which clip, which frames, which crop, which flip: pure functions of the global position.

Note [Position is the only clock]
Training takes the endless concatenation of epoch permutations; step s takes positions [s*G, s*G + G). Nothing
here remembers anything: the same (seed, position, attempt) gives the same clip in any process, after any restart and
for any number of processes. Random numbers are hashes of counters (splitmix64, Steele, Lea and Flood 2014,
doi:10.1145/2660193.2660195), written out here because numpy's generators promise no stable streams over versions.

Shape letters: T frames of a clip, B clips of a batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from dali_pipes.config import SamplingConfig

# One number per use, so that no two uses share random numbers.
_ORDER, _SUBSTITUTE, _FRAMES, _CROP, _FLIP = range(1, 6)
_GAMMA = np.uint64(0x9E3779B97F4A7C15)


class Crop(NamedTuple):
    """A box in whole pixels of the upright picture."""

    y: int
    x: int
    height: int
    width: int


@dataclass(frozen=True)
class SamplingRules:
    """SamplingConfig and the shape of the view, as plain values that travel to workers without pydantic.

    ``view_aspect`` is width over height of the view; crops have it too, so that nothing is stretched (random resized
    crops: up to their random factor).
    """

    num_frames: int
    random_frames: bool
    crop_kind: Literal["multi_scale", "random_resized", "center"]
    view_aspect: float
    center_ratio: float
    flip_probability: float
    scales: tuple[float, ...] = (1.0,)
    max_scale_steps_apart: int = 0
    area: tuple[float, float] = (1.0, 1.0)
    aspect_ratio: tuple[float, float] = (1.0, 1.0)


@dataclass(frozen=True)
class ClipPlan:
    """What to show at a position.

    Args:
        row: of the manifest.
        position: in the endless order (training) or in the list (evaluation).
        attempt: 0 for the planned clip, k for its k-th substitute.
        frame_index_T: int32 frame numbers, not decreasing.
        valid_T: bool, False where a video with fewer frames than T repeats one.
        crop: in the upright picture.
        flip: left-right.
    """

    row: int
    position: int
    attempt: int
    frame_index_T: np.ndarray
    valid_T: np.ndarray
    crop: Crop
    flip: bool

    @property
    def substituted(self) -> bool:
        return self.attempt > 0


def rules_from_config(
    config: SamplingConfig, *, view_size: tuple[int, int], mode: Literal["train", "eval"]
) -> SamplingRules:
    """The rules of training (config.crop, config.train_frames, flips) or evaluation (centre, no flip).

    ``view_size`` is (height, width) of the first view rendered, the teacher's where there is one.
    """
    height, width = view_size
    rules = SamplingRules(
        num_frames=config.num_frames,
        random_frames=False,
        crop_kind="center",
        view_aspect=width / height,
        center_ratio=config.test_crop_ratio,
        flip_probability=0.0,
    )
    if mode == "eval":
        return rules
    return replace(
        rules,
        random_frames=config.train_frames == "random",
        crop_kind=config.crop.kind,
        flip_probability=config.flip_probability,
        **config.crop.model_dump(exclude={"kind"}),
    )


def hash_words(*words: int | np.ndarray) -> np.ndarray:
    """uint64 hash of a tuple of non-negative integers; arrays broadcast, giving an array of hashes."""
    state = np.zeros(1, np.uint64)
    with np.errstate(over="ignore"):  # arithmetic modulo 2**64 is meant
        for word in words:
            state = _mix(state + _GAMMA + _mix(np.asarray(word).astype(np.uint64) + _GAMMA))
    return state


def uniform(*words: int | np.ndarray) -> np.ndarray:
    """float64 in [0, 1): the upper 53 bits of ``hash_words``."""
    return (hash_words(*words) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(state: np.ndarray) -> np.ndarray:
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def epoch_order(seed: int, epoch: int, num_clips: int) -> np.ndarray:
    """int64 permutation of the rows: the order of one epoch. Ties of the hash keep the order of the rows."""
    return np.argsort(hash_words(seed, _ORDER, epoch, np.arange(num_clips)), kind="stable")


def substitute_row(seed: int, position: int, attempt: int, num_clips: int, *, planned_row: int) -> int:
    """The row that stands in at attempt >= 1 of a position: another one at each attempt until all were tried.

    Walks the rows in steps of a hashed length that has no factor in common with their number.
    """
    step = 1 + int(uniform(seed, _SUBSTITUTE, position)[0] * (num_clips - 1))
    while math.gcd(step, num_clips) > 1:
        step += 1
    return (planned_row + attempt * step) % num_clips


def positions_of_batch(
    batch_number: int, rank: int, world_size: int, batch_size: int, global_batch_size: int
) -> np.ndarray:
    """int64 positions (B,) of a rank's training batch.

    A step of G positions is A = G / (W*B) batches a rank; rank r holds A*B positions in a row.
    Example: G=8, W=2, B=2: rank 0 takes 0 1 | 2 3, rank 1 takes 4 5 | 6 7, and then all add 8.

    Raises:
        ValueError: G is not a multiple of W*B.
    """
    clips_at_once = world_size * batch_size
    if global_batch_size < 1 or global_batch_size % clips_at_once:
        raise ValueError(
            f"global_batch_size: expected a multiple of world size {world_size} times batch size {batch_size} = "
            f"{clips_at_once}, found {global_batch_size}."
        )
    num_micro_batches = global_batch_size // clips_at_once
    step, micro_batch = divmod(batch_number, num_micro_batches)
    first = step * global_batch_size + (rank * num_micro_batches + micro_batch) * batch_size
    return np.arange(first, first + batch_size, dtype=np.int64)


def evaluation_positions_of_batch(batch_number: int, rank: int, world_size: int, batch_size: int) -> np.ndarray:
    """int64 positions (B,) of a rank's evaluation batch; those past the end of the list are padding."""
    first = (batch_number * world_size + rank) * batch_size
    return np.arange(first, first + batch_size, dtype=np.int64)


def plan_clip(
    rules: SamplingRules, *, seed: int, position: int, attempt: int, row: int, num_frames: int, height: int, width: int
) -> ClipPlan:
    """Frames, crop and flip of a clip: pure in (seed, position, attempt) and the facts of the video.

    Args:
        num_frames: of the video.
        height, width: of its upright picture, in pixels.
    """
    numbers_T = segment_frames(rules, (seed, _FRAMES, position, attempt), num_frames)
    repeats = num_frames < rules.num_frames
    valid_T = np.concatenate(([True], np.diff(numbers_T) > 0)) if repeats else np.ones(rules.num_frames, np.bool_)
    crop = _CROP_RULES[rules.crop_kind](rules, (seed, _CROP, position, attempt), height, width)
    flip = bool(uniform(seed, _FLIP, position, attempt)[0] < rules.flip_probability)
    return ClipPlan(row, position, attempt, numbers_T, valid_T, crop, flip)


def segment_frames(rules: SamplingRules, key: tuple[int, ...], num_frames: int) -> np.ndarray:
    """int32 (T,): one frame from each of T equal segments of the video (TSN, arXiv:1608.00859).

    Segment i is the time [i*n/T, (i+1)*n/T), and frame f fills [f, f+1). The moment is uniform in the segment in
    training, its middle in evaluation: every frame is expected T/n times, whether n is larger or smaller than T.
    """
    segments_T = np.arange(rules.num_frames)
    inside_T = uniform(*key, segments_T) if rules.random_frames else 0.5
    moments_T = (segments_T + inside_T) * num_frames / rules.num_frames
    return np.minimum(moments_T.astype(np.int32), num_frames - 1)


def _largest_box(rules: SamplingRules, height: int, width: int) -> tuple[float, float]:
    """Height and width of the largest box with the view's aspect; for a square view the short side, twice."""
    return min(height, width / rules.view_aspect), min(width, height * rules.view_aspect)


def center_crop(rules: SamplingRules, key: tuple[int, ...], height: int, width: int) -> Crop:
    """``center_ratio`` of the largest box with the view's aspect, in the middle."""
    box_height, box_width = _largest_box(rules, height, width)
    return _centered(box_height * rules.center_ratio, box_width * rules.center_ratio, height, width)


def multi_scale_crop(rules: SamplingRules, key: tuple[int, ...], height: int, width: int) -> Crop:
    """A scale each for height and width of the largest box, at most ``max_scale_steps_apart`` places apart, at one of
    13 places: all (y, x) in quarters of the free space with both even (9 of them), and the 4 with both odd."""
    box_height, box_width = _largest_box(rules, height, width)
    places = range(len(rules.scales))
    pairs = [(i, j) for i in places for j in places if abs(i - j) <= rules.max_scale_steps_apart]
    which_pair, which_place = uniform(*key, np.arange(2))
    i, j = pairs[int(which_pair * len(pairs))]
    crop_height = max(1, int(box_height * rules.scales[i]))
    crop_width = max(1, int(box_width * rules.scales[j]))
    quarters = [(a, b) for a in range(5) for b in range(5) if a % 2 == b % 2]
    a, b = quarters[int(which_place * len(quarters))]
    return Crop((height - crop_height) * a // 4, (width - crop_width) * b // 4, crop_height, crop_width)


def random_resized_crop(rules: SamplingRules, key: tuple[int, ...], height: int, width: int) -> Crop:
    """Random area and aspect (log-uniform, times the view's), as torchvision's RandomResizedCrop defines them: ten
    tries, then the largest centred box whose aspect is nearest to the allowed ones."""
    low, high = (math.log(value * rules.view_aspect) for value in rules.aspect_ratio)
    for attempt in range(10):
        of_area, of_aspect, of_y, of_x = uniform(*key, attempt, np.arange(4))
        area = height * width * (rules.area[0] + of_area * (rules.area[1] - rules.area[0]))
        aspect = math.exp(low + of_aspect * (high - low))
        crop_height, crop_width = round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect))
        if 0 < crop_height <= height and 0 < crop_width <= width:
            y, x = int(of_y * (height - crop_height + 1)), int(of_x * (width - crop_width + 1))
            return Crop(y, x, crop_height, crop_width)
    aspect = min(max(width / height, math.exp(low)), math.exp(high))
    return _centered(min(height, width / aspect), min(width, height * aspect), height, width)


def _centered(crop_height: float, crop_width: float, height: int, width: int) -> Crop:
    rounded_height, rounded_width = max(1, round(crop_height)), max(1, round(crop_width))
    return Crop((height - rounded_height) // 2, (width - rounded_width) // 2, rounded_height, rounded_width)


_CROP_RULES = {"multi_scale": multi_scale_crop, "random_resized": random_resized_crop, "center": center_crop}
