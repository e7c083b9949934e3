from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dali_pipes.sampling.frame_samplers import choose_frames
from dali_pipes.sampling.spec import SamplingRules, TestViews, rules_from_config
from dali_pipes.sampling_config import SamplingConfig

KINDS: list[dict[str, Any]] = [
    {"kind": "segments"},
    {"kind": "uniform"},
    {"kind": "dense", "stride": 1},
    {"kind": "dense", "stride": 8},
    {"kind": "dense", "stride": 2, "short_video": "loop"},
    {"kind": "dense", "stride": 3, "test_starts": "centers"},
]
kinds = pytest.mark.parametrize("frames", KINDS, ids=lambda frames: "-".join(map(str, frames.values())))


def rules_of(frames: dict[str, Any], num_frames: int = 8, *, mode: Any = "train", clips: int = 1) -> SamplingRules:
    config = SamplingConfig.model_validate({"num_frames": num_frames, "frames": frames})
    return rules_from_config(config, view_size=(8, 8), mode=mode, test_views=TestViews(clips))


def numbers(rules: SamplingRules, num_frames: int, *, clip: int = 0) -> list[int]:
    return choose_frames(rules, (0,), num_frames, clip=clip)[0].tolist()


@kinds
@given(num_frames=st.integers(1, 400), wanted=st.integers(1, 20), words=st.integers(0, 999), data=st.data())
@settings(max_examples=60, deadline=None)
def test_frames_exist_and_go_forward(
    frames: dict[str, Any], num_frames: int, wanted: int, words: int, data: st.DataObject
) -> None:
    clips = data.draw(st.integers(1, 10))
    tested = rules_of(frames, wanted, mode="eval", clips=clips)
    for rules, clip in [(rules_of(frames, wanted), 0), (tested, data.draw(st.integers(0, clips - 1)))]:
        numbers_T, valid_T = choose_frames(rules, (words,), num_frames, clip=clip)
        assert numbers_T.shape == valid_T.shape == (wanted,)
        assert numbers_T.dtype == np.int32 and valid_T.dtype == np.bool_
        assert numbers_T.min() >= 0 and numbers_T.max() < num_frames
        assert valid_T[0] and (np.diff(numbers_T[valid_T]) > 0).all()
        assert rules.short_video == "loop" or (np.diff(numbers_T) >= 0).all()
        assert rules.short_video == "loop" or valid_T.sum() == len(set(numbers_T.tolist()))
        again = choose_frames(rules, (words,), num_frames, clip=clip)
        assert (again[0] == numbers_T).all() and (again[1] == valid_T).all()


@kinds
@pytest.mark.parametrize("num_frames", [1, 2, 7, 8, 9, 15, 16, 57, 58, 64, 250])
def test_every_frame_of_a_video_is_shown_in_training(frames: dict[str, Any], num_frames: int) -> None:
    """T = 8; 57 frames hold one clip of stride 8, and 64 all its phases."""
    rules = rules_of(frames)
    missing = set(range(num_frames))
    for word in range(3000):
        missing -= set(choose_frames(rules, (word,), num_frames)[0].tolist())
        if not missing:
            return
    raise AssertionError(f"never shown: {missing}")


@pytest.mark.parametrize("kind", ["segments", "uniform"])
@pytest.mark.parametrize("num_frames", [1, 3, 8, 11, 250])
def test_random_frames_stay_in_their_segments_and_are_equally_likely(kind: str, num_frames: int) -> None:
    counts = np.zeros(num_frames)
    num_draws, rules = 1500, rules_of({"kind": kind})
    for word in range(num_draws):
        numbers_T, _ = choose_frames(rules, (0, word), num_frames)
        for segment, number in enumerate(numbers_T):
            low, high = segment * num_frames / 8, (segment + 1) * num_frames / 8
            assert number + 1 > low and number < high
        np.add.at(counts, numbers_T, 1)
    expected = num_draws * 8 / num_frames
    assert np.abs(counts / expected - 1).max() < 6 / np.sqrt(expected)


def test_uniform_frames_have_one_phase_and_segments_one_each() -> None:
    for word in range(50):
        assert set(np.diff(choose_frames(rules_of({"kind": "uniform"}), (word,), 80)[0])) == {10}
    gaps = [np.diff(choose_frames(rules_of({"kind": "segments"}), (word,), 80)[0]) for word in range(50)]
    assert np.std(gaps) > 3


def test_all_starts_of_dense_clips_are_equally_likely() -> None:
    rules, num_draws = rules_of({"kind": "dense", "stride": 8}), 4000
    starts = [choose_frames(rules, (word,), 76)[0][0] for word in range(num_draws)]
    counts = np.bincount(starts, minlength=20)  # the last clip starts at 76 - 57
    assert len(counts) == 20
    assert ((counts - num_draws / 20) ** 2 / (num_draws / 20)).sum() < 44  # chi square, 19 degrees, p = 0.001


@pytest.mark.parametrize("frames", [*KINDS[:2], {"kind": "segments", "train": "center"}])
@pytest.mark.parametrize(
    ("num_frames", "expected"),
    [
        (250, [15, 46, 78, 109, 140, 171, 203, 234]),
        (9, [0, 1, 2, 3, 5, 6, 7, 8]),
        (8, [0, 1, 2, 3, 4, 5, 6, 7]),
        (7, [0, 1, 2, 3, 3, 4, 5, 6]),
        (4, [0, 0, 1, 1, 2, 2, 3, 3]),
        (2, [0, 0, 0, 0, 1, 1, 1, 1]),
        (1, [0] * 8),
    ],
)
def test_evaluation_takes_the_middle_of_each_segment(
    frames: dict[str, Any], num_frames: int, expected: list[int]
) -> None:
    assert numbers(rules_of(frames, mode="train" if "train" in frames else "eval"), num_frames) == expected


def test_two_clips_of_segments_are_tsms_twice_sample_and_the_first_of_ten_is_the_one_clip() -> None:
    rules = rules_of({"kind": "segments"}, mode="eval", clips=2)
    assert numbers(rules, 80, clip=0) == [5, 15, 25, 35, 45, 55, 65, 75]
    assert numbers(rules, 80, clip=1) == [0, 10, 20, 30, 40, 50, 60, 70]
    ten = rules_of({"kind": "segments"}, mode="eval", clips=10)
    assert [numbers(ten, 80, clip=clip)[0] for clip in range(10)] == [5, 6, 7, 8, 9, 0, 1, 2, 3, 4]


@given(num_frames=st.integers(1, 300), clips=st.integers(1, 12), wanted=st.integers(1, 12))
@settings(max_examples=200, deadline=None)
def test_clips_of_segments_cover_the_video_evenly(num_frames: int, clips: int, wanted: int) -> None:
    rules = rules_of({"kind": "segments"}, wanted, mode="eval", clips=clips)
    seen = sorted(number for clip in range(clips) for number in numbers(rules, num_frames, clip=clip))
    counts = np.bincount(seen, minlength=num_frames)
    assert counts.max() - counts.min() <= 1
    gap = num_frames / (clips * wanted)
    assert np.diff([-1, *seen, num_frames]).max() <= gap + 1


@pytest.mark.parametrize(("clips", "starts"), [(1, [21]), (2, [0, 43]), (4, [0, 14, 29, 43])])
def test_dense_clips_start_from_the_first_to_the_last_possible(clips: int, starts: list[int]) -> None:
    rules = rules_of({"kind": "dense", "stride": 8}, mode="eval", clips=clips)
    found = [numbers(rules, 100, clip=clip) for clip in range(clips)]
    assert found == [[start + 8 * index for index in range(8)] for start in starts]


@pytest.mark.parametrize(
    ("num_frames", "clips", "starts"),
    [
        # MMAction2 0.x, SampleFrames._get_test_clips: (v + 1/2) * (n - 64 + 1) / V, rounded down; 0 where n < 64.
        (300, 10, [11, 35, 59, 82, 106, 130, 154, 177, 201, 225]),
        (300, 1, [118]),
        (64, 2, [0, 0]),
        (66, 4, [0, 1, 1, 2]),
        (30, 3, [0, 0, 0]),
    ],
)
def test_dense_clips_may_start_in_the_middles_of_equal_parts(num_frames: int, clips: int, starts: list[int]) -> None:
    rules = rules_of({"kind": "dense", "stride": 8, "test_starts": "centers"}, mode="eval", clips=clips)
    assert [numbers(rules, num_frames, clip=clip)[0] for clip in range(clips)] == starts


@given(num_frames=st.integers(1, 400), clips=st.integers(2, 12), wanted=st.integers(1, 12), stride=st.integers(1, 9))
@settings(max_examples=200, deadline=None)
def test_dense_clips_reach_from_end_to_end_without_a_gap(num_frames: int, clips: int, wanted: int, stride: int) -> None:
    rules = rules_of({"kind": "dense", "stride": stride}, wanted, mode="eval", clips=clips)
    found = [choose_frames(rules, (), num_frames, clip=clip) for clip in range(clips)]
    seen = sorted({int(number) for numbers_T, _ in found for number in numbers_T})
    long_enough = num_frames > (wanted - 1) * stride
    assert seen[0] == 0 and seen[-1] > num_frames - 1 - (1 if long_enough else stride)
    assert all(valid_T.all() == long_enough for _, valid_T in found)
    if clips * wanted * stride >= num_frames:
        assert max(np.diff(seen), default=0) <= 2 * stride


@pytest.mark.parametrize(
    ("num_frames", "short_video", "expected", "valid"),
    [
        (1, "repeat_last", [0, 0, 0, 0], [1, 0, 0, 0]),
        (1, "loop", [0, 0, 0, 0], [1, 0, 0, 0]),
        (2, "repeat_last", [0, 0, 0, 0], [1, 0, 0, 0]),
        (2, "loop", [0, 0, 0, 0], [1, 0, 0, 0]),
        (3, "repeat_last", [0, 2, 2, 2], [1, 1, 0, 0]),
        (3, "loop", [0, 2, 1, 0], [1, 1, 0, 0]),
        (4, "repeat_last", [0, 2, 2, 2], [1, 1, 0, 0]),
        (5, "loop", [0, 2, 4, 1], [1, 1, 1, 0]),
        (6, "repeat_last", [0, 2, 4, 4], [1, 1, 1, 0]),
        (7, "repeat_last", [0, 2, 4, 6], [1, 1, 1, 1]),
        (8, "loop", [0, 2, 4, 6], [1, 1, 1, 1]),
        (9, "loop", [1, 3, 5, 7], [1, 1, 1, 1]),
    ],
)
def test_a_dense_clip_of_a_short_video_follows_the_named_rule(
    num_frames: int, short_video: str, expected: list[int], valid: list[int]
) -> None:
    """T = 4, stride 2: a clip spans 7 frames."""
    rules = rules_of({"kind": "dense", "stride": 2, "short_video": short_video}, 4, mode="eval")
    numbers_T, valid_T = choose_frames(rules, (), num_frames)
    assert (numbers_T.tolist(), valid_T.astype(int).tolist()) == (expected, valid)


@pytest.mark.parametrize(
    ("num_frames", "valid"), [(1, "10000000"), (2, "10001000"), (3, "10010100"), (7, "11110111"), (8, "1" * 8)]
)
def test_repeated_frames_of_a_short_video_are_not_valid(num_frames: int, valid: str) -> None:
    _, valid_T = choose_frames(rules_of({"kind": "segments"}, mode="eval"), (), num_frames)
    assert "".join(str(int(value)) for value in valid_T) == valid


def test_what_training_takes_at_random_can_be_switched_off() -> None:
    center = replace(rules_of({"kind": "uniform"}), random_frames=False)
    assert rules_of({"kind": "uniform", "train": "center"}) == center
