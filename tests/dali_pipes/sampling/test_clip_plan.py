from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dali_pipes.choices import FrameSelection
from dali_pipes.sampling.clip_plan import VideoShape, plan_clip
from dali_pipes.sampling.counter_rng import hash_words
from dali_pipes.sampling.crops import Crop
from dali_pipes.sampling.order import epoch_order, evaluation_positions_of_batch, positions_of_batch, substitute_row
from dali_pipes.sampling.spec import SamplingRules, StudentFrames, TestViews, rules_from_config
from dali_pipes.sampling_config import RandomResizedCropConfig, SamplingConfig

GOLDEN: dict[str, Any] = {
    "hash_0": 12035550249420947055,
    "hash_123": 12096571958832185870,
    "order": [5, 9, 2, 8, 3, 4, 1, 0, 7, 6],
    "substitutes": [37, 87, 78],
    "frames": [13, 52, 79, 110, 141, 183, 216, 240],
    "uniform": [13, 45, 76, 107, 138, 170, 201, 232],
    "dense": [86, 94, 102, 110, 118, 126, 134, 142],
    "multi_scale": Crop(y=15, x=0, height=210, width=180),
    "flip": False,
    "student": [1, 4, 6],
    "random_resized": Crop(y=103, x=142, height=107, width=109),
}


def test_numbers_are_frozen() -> None:
    """Golden values: a change here changes every training run, and breaks resuming of older ones."""
    assert hash_words(0)[0] == GOLDEN["hash_0"]
    assert hash_words(1, 2, 3)[0] == GOLDEN["hash_123"]
    assert epoch_order(7, 2, 10).tolist() == GOLDEN["order"]
    assert [substitute_row(7, 5, attempt, 100, planned_row=60) for attempt in (1, 2, 3)] == GOLDEN["substitutes"]
    rules = rules_from_config(SamplingConfig(num_frames=8), view_size=(224, 224), mode="train")
    plan = plan_clip(rules, VideoShape(250, 240, 320), seed=1, position=11, attempt=0, row=3)
    assert plan.frame_index_T.tolist() == GOLDEN["frames"]
    assert plan.crop == GOLDEN["multi_scale"]
    assert plan.flip == GOLDEN["flip"]
    some = replace(rules, student=StudentFrames(3, "random"))
    plan = plan_clip(some, VideoShape(250, 240, 320), seed=1, position=11, attempt=0, row=3)
    assert plan.student_k.tolist() == GOLDEN["student"]
    rules = rules_from_config(SamplingConfig(crop=RandomResizedCropConfig()), view_size=(224, 224), mode="train")
    plan = plan_clip(rules, VideoShape(250, 240, 320), seed=1, position=11, attempt=1, row=3)
    assert plan.crop == GOLDEN["random_resized"]
    for kind in ("uniform", "dense"):
        frames = {"kind": kind, **({"stride": 8} if kind == "dense" else {})}
        config = SamplingConfig.model_validate({"num_frames": 8, "frames": frames})
        rules = rules_from_config(config, view_size=(224, 224), mode="train")
        plan = plan_clip(rules, VideoShape(250, 240, 320), seed=1, position=11, attempt=0, row=3)
        assert plan.frame_index_T.tolist() == GOLDEN[kind]


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


def test_flips_come_as_often_as_asked_and_never_in_evaluation() -> None:
    def share(rules: SamplingRules) -> float:
        return float(
            np.mean(
                [plan_clip(rules, VideoShape(9, 9, 9), seed=0, position=p, attempt=0, row=0).flip for p in range(2000)]
            )
        )

    config = SamplingConfig(flip_probability=0.3)
    assert abs(share(rules_from_config(config, view_size=(8, 8), mode="train")) - 0.3) < 0.04
    assert share(rules_from_config(config, view_size=(8, 8), mode="eval")) == 0


def test_a_plan_depends_on_its_position_and_attempt_alone() -> None:
    rules = rules_from_config(SamplingConfig(), view_size=(8, 8), mode="train")

    def plan(position: int, attempt: int) -> str:
        return repr(plan_clip(rules, VideoShape(99, 50, 60), seed=3, position=position, attempt=attempt, row=0))

    assert plan(4, 0) == plan(4, 0)
    assert plan(4, 0) != plan(5, 0)
    assert plan(4, 0).replace("attempt=0", "") != plan(4, 1).replace("attempt=1", "")


def test_positions_of_an_evaluation_go_through_clips_and_crops_of_a_video() -> None:
    rules = rules_from_config(SamplingConfig(num_frames=2), view_size=(8, 8), mode="eval", test_views=TestViews(2, 3))
    plans = [plan_clip(rules, VideoShape(40, 10, 30), seed=0, position=p, attempt=0, row=0) for p in range(12)]
    assert [plan.crop.x for plan in plans] == [0, 10, 20] * 4
    assert [plan.frame_index_T.tolist() for plan in plans] == ([[10, 30]] * 3 + [[0, 20]] * 3) * 2


@pytest.mark.parametrize("selection", ["uniform", "random", "first", "middle", "last", "first_middle_last"])
@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("frames", [{"kind": "segments"}, {"kind": "dense", "stride": 3, "short_video": "loop"}])
@pytest.mark.parametrize("num_frames", [7, 90])
def test_a_student_alone_sees_the_frames_the_crop_and_the_flip_that_it_sees_beside_its_teacher(
    selection: FrameSelection, mode: Literal["train", "eval"], frames: dict[str, Any], num_frames: int
) -> None:
    config = SamplingConfig.model_validate({"num_frames": 8, "frames": frames})
    rules = rules_from_config(config, view_size=(8, 8), mode=mode, test_views=TestViews(2, 3))
    beside, alone = (replace(rules, student=StudentFrames(3, selection, is_alone)) for is_alone in (False, True))
    for position in range(12):
        about = {"seed": 1, "position": position, "attempt": 0, "row": 0}
        shape = VideoShape(num_frames, 30, 50)
        all_frames, own = (plan_clip(each, shape, **about) for each in (beside, alone))
        assert all_frames.frame_index_T.tolist() == plan_clip(rules, shape, **about).frame_index_T.tolist()
        assert own.frame_index_T.tolist() == all_frames.frame_index_T[all_frames.student_k].tolist()
        assert own.valid_T.tolist() == own.student_valid_k.tolist() == all_frames.student_valid_k.tolist()
        assert own.student_k.tolist() == [0, 1, 2] and len(all_frames.frame_index_T) == 8
        assert (own.crop, own.flip) == (all_frames.crop, all_frames.flip)


def test_random_frames_of_the_student_are_drawn_anew_at_each_position_and_attempt_and_rise() -> None:
    rules = rules_from_config(SamplingConfig(num_frames=16), view_size=(8, 8), mode="eval")
    rules = replace(rules, student=StudentFrames(4, "random"))

    def drawn(seed: int, position: int, attempt: int) -> tuple[int, ...]:
        plan = plan_clip(rules, VideoShape(90, 30, 50), seed=seed, position=position, attempt=attempt, row=0)
        assert (np.diff(plan.student_k) > 0).all()
        return tuple(plan.student_k.tolist())

    keys = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    assert len({drawn(*key) for key in keys}) == 4 and drawn(*keys[2]) == drawn(*keys[2])
    counts = Counter(index for position in range(1000) for index in drawn(0, position, 0))
    assert min(counts.values()) > 200 and max(counts.values()) < 300  # 250 each


def test_a_repetition_of_a_frame_that_the_student_was_not_shown_is_valid_to_it() -> None:
    rules = rules_from_config(SamplingConfig(num_frames=8), view_size=(8, 8), mode="eval")
    rules = replace(rules, student=StudentFrames(4, "last"))
    plan = plan_clip(rules, VideoShape(3, 30, 50), seed=0, position=0, attempt=0, row=0)
    assert plan.frame_index_T.tolist() == [0, 0, 0, 1, 1, 2, 2, 2]
    assert plan.valid_T.tolist() == [True, False, False, True, False, True, False, False]
    assert plan.student_valid_k.tolist() == [True, True, False, False]  # frames 1 2 2 2


@given(
    num_clips=st.integers(1, 30),
    test_views=st.builds(TestViews, st.integers(1, 5), st.sampled_from([1, 3])),
    world_size=st.integers(1, 5),
    batch_size=st.integers(1, 7),
)
@settings(max_examples=60, deadline=None)
def test_a_pass_shows_every_view_of_every_video_once_whatever_the_world(
    num_clips: int, test_views: TestViews, world_size: int, batch_size: int
) -> None:
    num_positions = num_clips * test_views.num_test_views
    num_batches = -(-num_positions // (world_size * batch_size))
    seen = [
        int(position)
        for rank in range(world_size)
        for number in range(num_batches)
        for position in evaluation_positions_of_batch(number, rank, world_size, batch_size)
        if position < num_positions
    ]
    assert sorted(seen) == list(range(num_positions))
