from __future__ import annotations

from collections import Counter

import pytest

from dali_pipes.annotations.lists import LabeledVideo
from dali_pipes.manifest.splits import split_by_group

GOLDEN = ["0/0/0", "0/2/0", "1/1/0", "1/6/0"]


def _videos(groups_of_class: dict[int, list[int]]) -> list[LabeledVideo]:
    """{class: sizes of its groups}"""
    return [
        LabeledVideo(f"{label}/{group}/{number}", (label,), f"g{group}")
        for label, sizes in groups_of_class.items()
        for group, size in enumerate(sizes)
        for number in range(size)
    ]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("fraction", [0.05, 0.2, 0.5, 0.95])
def test_groups_are_never_split_and_every_class_keeps_one(seed: int, fraction: float) -> None:
    videos = _videos({0: [3, 1, 7, 2, 2, 5], 1: [4, 4], 2: [1] * 20})
    kept, held_out = split_by_group(videos, fraction, seed=seed)
    assert sorted(kept + held_out, key=lambda v: v.path) == sorted(videos, key=lambda v: v.path)
    assert not {(v.label, v.group) for v in kept} & {(v.label, v.group) for v in held_out}
    assert {v.label for v in kept} == {v.label for v in held_out} == {0, 1, 2}


def test_about_the_asked_share_of_each_class_is_held_out() -> None:
    held_out = split_by_group(_videos({0: [2] * 50, 1: [1] * 40}), 0.25, seed=3)[1]
    assert Counter(v.label for v in held_out) == {0: 24, 1: 10} or Counter(v.label for v in held_out) == {0: 26, 1: 10}


def test_the_split_depends_on_the_seed_and_not_on_the_order() -> None:
    videos = _videos({0: [1] * 30})
    first = split_by_group(videos, 0.3, seed=0)[1]
    assert {v.path for v in split_by_group(videos[::-1], 0.3, seed=0)[1]} == {v.path for v in first}
    assert {v.path for v in split_by_group(videos, 0.3, seed=1)[1]} != {v.path for v in first}


def test_the_split_is_frozen() -> None:
    """A golden value: another split would move validation clips into the training set of a resumed run."""
    held_out = split_by_group(_videos({0: [1] * 8, 1: [1] * 8}), 0.25, seed=0)[1]
    assert [v.path for v in held_out] == GOLDEN


def test_a_class_with_one_group_keeps_it_and_is_named() -> None:
    messages: list[str] = []
    kept, held_out = split_by_group(
        _videos({0: [5], 1: [2, 2]}), 0.5, seed=0, class_names=("run", "jump"), on_message=messages.append
    )
    assert {v.label for v in held_out} == {1} and sum(v.label == 0 for v in kept) == 5
    assert messages == ["nothing is held out of classes with only one group: run"]


def test_a_split_that_is_impossible_is_refused() -> None:
    with pytest.raises(ValueError, match="two groups or more to hold out 10% of the videos"):
        split_by_group(_videos({0: [5], 1: [3]}), 0.1, seed=0)


def test_nothing_is_held_out_at_fraction_zero() -> None:
    videos = _videos({0: [5]})
    assert split_by_group(videos, 0.0, seed=0) == (videos, [])
