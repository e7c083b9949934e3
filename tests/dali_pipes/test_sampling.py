from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.transforms import RandomResizedCrop

from dali_pipes.config import CenterCropConfig, MultiScaleCropConfig, RandomResizedCropConfig, SamplingConfig
from dali_pipes.sampling import (
    Crop,
    SamplingRules,
    center_crop,
    epoch_order,
    evaluation_positions_of_batch,
    hash_words,
    multi_scale_crop,
    plan_clip,
    positions_of_batch,
    random_resized_crop,
    rules_from_config,
    segment_frames,
    substitute_row,
    uniform,
)

RULES = SamplingRules(
    num_frames=8, random_frames=True, crop_kind="center", view_aspect=1.0, center_ratio=0.875, flip_probability=0.5
)

GOLDEN: dict[str, Any] = {
    "hash_0": 12035550249420947055,
    "hash_123": 12096571958832185870,
    "order": [5, 9, 2, 8, 3, 4, 1, 0, 7, 6],
    "substitutes": [3, 46, 89],
    "frames": [13, 52, 79, 110, 141, 183, 216, 240],
    "multi_scale": Crop(y=15, x=0, height=210, width=180),
    "flip": False,
    "random_resized": Crop(y=103, x=142, height=107, width=109),
}


def test_numbers_are_frozen() -> None:
    """Golden values: a change here changes every training run, and breaks resuming of older ones."""
    assert hash_words(0)[0] == GOLDEN["hash_0"]
    assert hash_words(1, 2, 3)[0] == GOLDEN["hash_123"]
    assert epoch_order(7, 2, 10).tolist() == GOLDEN["order"]
    assert [substitute_row(7, 5, attempt, 100, planned_row=60) for attempt in (1, 2, 3)] == GOLDEN["substitutes"]
    rules = rules_from_config(SamplingConfig(num_frames=8), view_size=(224, 224), mode="train")
    plan = plan_clip(rules, seed=1, position=11, attempt=0, row=3, num_frames=250, height=240, width=320)
    assert plan.frame_index_T.tolist() == GOLDEN["frames"]
    assert plan.crop == GOLDEN["multi_scale"]
    assert plan.flip == GOLDEN["flip"]
    rules = rules_from_config(SamplingConfig(crop=RandomResizedCropConfig()), view_size=(224, 224), mode="train")
    plan = plan_clip(rules, seed=1, position=11, attempt=1, row=3, num_frames=250, height=240, width=320)
    assert plan.crop == GOLDEN["random_resized"]


def test_hash_is_elementwise_and_sensitive_to_every_word() -> None:
    assert hash_words(3, np.arange(5)).tolist() == [hash_words(3, value)[0] for value in range(5)]
    seen = {int(hash_words(*words)[0]) for words in [(0,), (0, 0), (1,), (0, 1), (1, 0), (2**64 - 1,)]}
    assert len(seen) == 6


def test_uniform_numbers_are_uniform_and_uncorrelated_between_uses() -> None:
    first, second = uniform(0, 1, np.arange(20000)), uniform(0, 2, np.arange(20000))
    assert first.min() >= 0 and first.max() < 1
    counts = np.histogram(first, bins=20, range=(0, 1))[0]
    assert ((counts - 1000) ** 2 / 1000).sum() < 45  # chi square, 19 degrees of freedom, p = 0.001
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.03


@pytest.mark.parametrize("num_clips", [1, 2, 97])
def test_epoch_order_is_a_permutation_that_changes_with_epoch_and_seed(num_clips: int) -> None:
    order = epoch_order(0, 0, num_clips)
    assert sorted(order) == list(range(num_clips))
    if num_clips > 10:
        assert (order != epoch_order(0, 1, num_clips)).any()
        assert (order != epoch_order(1, 0, num_clips)).any()


@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
@pytest.mark.parametrize("num_micro_batches", [1, 3])
def test_a_step_holds_the_next_g_positions_once_each(world_size: int, num_micro_batches: int) -> None:
    batch_size = 2
    global_batch_size = world_size * batch_size * num_micro_batches
    for step in range(3):
        positions = np.concatenate(
            [
                positions_of_batch(step * num_micro_batches + a, rank, world_size, batch_size, global_batch_size)
                for rank in range(world_size)
                for a in range(num_micro_batches)
            ]
        )
        assert positions.tolist() == list(range(step * global_batch_size, (step + 1) * global_batch_size))


@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
def test_an_epoch_shows_every_clip_once_whatever_the_world_size(world_size: int) -> None:
    num_clips, seed, global_batch_size = 24, 5, 12
    orders = {epoch: epoch_order(seed, epoch, num_clips) for epoch in range(3)}
    rows = [
        int(orders[position // num_clips][position % num_clips])
        for batch in range(2 * num_clips // global_batch_size * (global_batch_size // (world_size * 1)))
        for rank in range(world_size)
        for position in positions_of_batch(batch, rank, world_size, 1, global_batch_size)
    ]
    assert Counter(rows) == dict.fromkeys(range(num_clips), 2)


@pytest.mark.parametrize("num_clips", [1, 2, 6, 7, 30])
def test_substitutes_are_all_other_clips_before_one_comes_again(num_clips: int) -> None:
    for position in range(20):
        rows = [substitute_row(0, position, attempt, num_clips, planned_row=0) for attempt in range(1, num_clips)]
        assert sorted(rows) == list(range(1, num_clips))


def test_a_global_batch_that_ranks_cannot_share_is_refused() -> None:
    with pytest.raises(ValueError, match=r"multiple of world size 2 times batch size 3 = 6, found 8"):
        positions_of_batch(0, 0, 2, 3, 8)


def test_evaluation_positions_cover_the_list_in_order() -> None:
    positions = [evaluation_positions_of_batch(b, r, 2, 3) for b in range(2) for r in range(2)]
    assert np.concatenate(positions).tolist() == list(range(12))


@pytest.mark.parametrize("num_frames", [1, 3, 8, 11, 250])
def test_random_frames_stay_in_their_segments_and_are_equally_likely(num_frames: int) -> None:
    counts = np.zeros(num_frames)
    num_draws = 3000
    for position in range(num_draws):
        numbers = segment_frames(RULES, (0, position), num_frames)
        assert (np.diff(numbers) >= 0).all()
        for segment, number in enumerate(numbers):
            low, high = segment * num_frames / 8, (segment + 1) * num_frames / 8
            assert number + 1 > low and number < high
        np.add.at(counts, numbers, 1)
    expected = num_draws * 8 / num_frames
    assert np.abs(counts / expected - 1).max() < 6 / np.sqrt(expected)


@pytest.mark.parametrize(
    ("num_frames", "expected"),
    [
        (250, [15, 46, 78, 109, 140, 171, 203, 234]),
        (8, [0, 1, 2, 3, 4, 5, 6, 7]),
        (4, [0, 0, 1, 1, 2, 2, 3, 3]),
        (1, [0] * 8),
    ],
)
def test_evaluation_takes_the_middle_of_each_segment(num_frames: int, expected: list[int]) -> None:
    rules = replace(RULES, random_frames=False)
    assert segment_frames(rules, (0, 0), num_frames).tolist() == expected


def test_repeated_frames_of_a_short_video_are_not_valid() -> None:
    rules = replace(RULES, random_frames=False)
    plan = plan_clip(rules, seed=0, position=0, attempt=0, row=0, num_frames=3, height=9, width=9)
    assert plan.frame_index_T.tolist() == [0, 0, 0, 1, 1, 2, 2, 2]
    assert plan.valid_T.tolist() == [True, False, False, True, False, True, False, False]
    plan = plan_clip(RULES, seed=0, position=0, attempt=0, row=0, num_frames=8, height=9, width=9)
    assert plan.valid_T.all()


@pytest.mark.parametrize(
    ("aspect", "height", "width", "expected"),
    [
        (1.0, 256, 340, Crop(16, 58, 224, 224)),
        (1.0, 340, 256, Crop(58, 16, 224, 224)),
        (2.0, 256, 340, Crop(53, 21, 149, 298)),  # the box is 170 x 340
        (1.0, 1, 1, Crop(0, 0, 1, 1)),
    ],
)
def test_center_crop_is_a_share_of_the_largest_box(aspect: float, height: int, width: int, expected: Crop) -> None:
    assert center_crop(replace(RULES, view_aspect=aspect), (0,), height, width) == expected


def test_multi_scale_crop_takes_every_allowed_size_and_all_13_places() -> None:
    rules = replace(RULES, crop_kind="multi_scale", scales=(1.0, 0.875, 0.75, 0.66), max_scale_steps_apart=1)
    crops = [multi_scale_crop(rules, (0, number), 256, 340) for number in range(4000)]
    sides = [256, 224, 192, 168]
    sizes = Counter((crop.height, crop.width) for crop in crops)
    assert set(sizes) == {(sides[i], sides[j]) for i in range(4) for j in range(4) if abs(i - j) <= 1}
    assert min(sizes.values()) > 0.7 * 4000 / 10
    places = Counter((4 * crop.y // (256 - 192), 4 * crop.x // (340 - 192)) for crop in crops if crop[2:] == (192, 192))
    assert set(places) == {(a, b) for a in range(5) for b in range(5) if a % 2 == b % 2}


def test_random_resized_crops_are_distributed_as_torchvision_s() -> None:
    area, aspect_ratio, num_draws = (0.08, 1.0), (3 / 4, 4 / 3), 3000
    rules = replace(RULES, crop_kind="random_resized", area=area, aspect_ratio=aspect_ratio)
    ours = np.array([random_resized_crop(rules, (0, number), 240, 320) for number in range(num_draws)])
    torch.manual_seed(0)
    picture = torch.zeros(1, 240, 320)
    theirs = np.array([RandomResizedCrop.get_params(picture, list(area), list(aspect_ratio)) for _ in range(num_draws)])
    assert (ours[:, :2] >= 0).all() and (ours[:, :2] + ours[:, 2:] <= (240, 320)).all()
    for share in (0.02, 0.25, 0.5, 0.75, 0.98):
        difference = np.quantile(ours, share, axis=0) - np.quantile(theirs, share, axis=0)
        assert np.abs(difference).max() <= 10, share


def test_random_resized_crop_falls_back_to_the_middle() -> None:
    rules = replace(RULES, crop_kind="random_resized", area=(0.9, 1.0), aspect_ratio=(1.0, 1.0))
    assert random_resized_crop(rules, (0,), 10, 100) == Crop(0, 45, 10, 10)


@pytest.mark.parametrize("kind", ["multi_scale", "random_resized", "center"])
def test_every_crop_fits_into_odd_and_tiny_pictures(kind: str) -> None:
    crop_config = {
        "multi_scale": MultiScaleCropConfig(),
        "random_resized": RandomResizedCropConfig(),
        "center": CenterCropConfig(),
    }[kind]
    rules = rules_from_config(SamplingConfig(crop=crop_config), view_size=(112, 224), mode="train")
    for height, width in [(1, 1), (1, 7), (121, 161), (500, 3)]:
        for position in range(50):
            crop = plan_clip(
                rules, seed=0, position=position, attempt=0, row=0, num_frames=5, height=height, width=width
            ).crop
            assert crop.height >= 1 and crop.width >= 1 and crop.y >= 0 and crop.x >= 0
            assert crop.y + crop.height <= height and crop.x + crop.width <= width


def test_flips_come_as_often_as_asked_and_never_in_evaluation() -> None:
    def share(rules: SamplingRules) -> float:
        return float(
            np.mean(
                [
                    plan_clip(rules, seed=0, position=p, attempt=0, row=0, num_frames=9, height=9, width=9).flip
                    for p in range(2000)
                ]
            )
        )

    assert abs(share(replace(RULES, flip_probability=0.3)) - 0.3) < 0.04
    assert share(rules_from_config(SamplingConfig(), view_size=(8, 8), mode="eval")) == 0


def test_a_plan_depends_on_its_position_and_attempt_alone() -> None:
    def plan(position: int, attempt: int) -> str:
        return repr(
            plan_clip(RULES, seed=3, position=position, attempt=attempt, row=0, num_frames=99, height=50, width=60)
        )

    assert plan(4, 0) == plan(4, 0)
    assert plan(4, 0) != plan(5, 0)
    assert plan(4, 0).replace("attempt=0", "") != plan(4, 1).replace("attempt=1", "")
