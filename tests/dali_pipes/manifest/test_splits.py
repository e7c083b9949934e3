from __future__ import annotations

import hashlib
import random
from collections import Counter

import pytest

from dali_pipes.annotations.lists import LabeledVideo, class_names_of, label_videos, read_list
from dali_pipes.manifest.splits import split_by_group
from tests.conftest import SHARED_DATA

# Number of held-out videos and hash of their paths, as recorded before groups could hold several classes.
UCF10_SPLITS = {
    (1, 0, 0.1): (27, "e4822fb9a8dd1900"),
    (1, 0, 0.3): (85, "b457d836669804e3"),
    (1, 1, 0.1): (28, "2ac4fac7db5f8190"),
    (1, 1, 0.3): (90, "82fbc70edb1ff124"),
    (1, 7, 0.1): (26, "8f6f90063b2e43a7"),
    (1, 7, 0.3): (88, "3144a5c831b68822"),
    (2, 0, 0.1): (29, "fe7973faf01d7088"),
    (2, 0, 0.3): (80, "dac2edc9687892e8"),
    (2, 1, 0.1): (26, "207fbbbbb7992ee2"),
    (2, 1, 0.3): (87, "9f988e9709214a06"),
    (2, 7, 0.1): (28, "e37e5335030ee80d"),
    (2, 7, 0.3): (82, "693936f6718ad9e4"),
    (3, 0, 0.1): (29, "1f10b261b9843d9a"),
    (3, 0, 0.3): (87, "06b426f5ef262e15"),
    (3, 1, 0.1): (31, "1b3292214ff52c82"),
    (3, 1, 0.3): (88, "7b514635ab1dc314"),
    (3, 7, 0.1): (28, "22b3422ac238e544"),
    (3, 7, 0.3): (87, "2466979dba89789c"),
}
MADE_SPLITS = {
    (0, 0.05): (46, "08ec3e2a5e6a1a84"),
    (0, 0.2): (145, "dc6f9a6d715c8624"),
    (0, 0.5): (353, "b1694c3dc71150b5"),
    (1, 0.05): (5, "c6c78f6b4934b218"),
    (1, 0.2): (20, "2d748e20e47c839f"),
    (1, 0.5): (48, "0b3ab1c77b8991f5"),
    (2, 0.05): (8, "108710e6b6e197e8"),
    (2, 0.2): (29, "6ca642e1acd2a31b"),
    (2, 0.5): (76, "d093233163ed27dc"),
    (3, 0.05): (32, "919bfb85ac3cf511"),
    (3, 0.2): (121, "7f693402ff8db802"),
    (3, 0.5): (287, "6a917ebec3e7aa2e"),
    (4, 0.05): (30, "0c25443cf6006074"),
    (4, 0.2): (73, "1967c1be236a160b"),
    (4, 0.5): (195, "6ce92dfb8cf78f71"),
    (5, 0.05): (71, "656d100e6faeaefa"),
    (5, 0.2): (188, "bafaaf7b57b174c6"),
    (5, 0.5): (444, "083037579a1d5ee2"),
}


def _videos(groups_of_class: dict[int, list[int]]) -> list[LabeledVideo]:
    """{class: sizes of its groups}"""
    return [
        LabeledVideo(f"{label}/{group}/{number}", (label,), f"{label}-g{group}")
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
    assert not {v.group for v in kept} & {v.group for v in held_out}
    assert {v.label for v in kept} == {v.label for v in held_out} == {0, 1, 2}


def test_about_the_asked_share_of_each_class_is_held_out() -> None:
    held_out = split_by_group(_videos({0: [2] * 50, 1: [1] * 40}), 0.25, seed=3)[1]
    assert Counter(v.label for v in held_out) == {0: 24, 1: 10} or Counter(v.label for v in held_out) == {0: 26, 1: 10}


def test_the_split_depends_on_the_seed_and_not_on_the_order() -> None:
    videos = _videos({0: [1] * 30})
    first = split_by_group(videos, 0.3, seed=0)[1]
    assert {v.path for v in split_by_group(videos[::-1], 0.3, seed=0)[1]} == {v.path for v in first}
    assert {v.path for v in split_by_group(videos, 0.3, seed=1)[1]} != {v.path for v in first}


def _hash(held_out: list[LabeledVideo]) -> tuple[int, str]:
    return len(held_out), hashlib.sha256("\n".join(video.path for video in held_out).encode()).hexdigest()[:16]


@pytest.mark.parametrize(("number", "fraction"), MADE_SPLITS)
def test_groups_of_one_class_are_split_as_ever(number: int, fraction: float) -> None:
    """Golden values: another split would move validation clips into the training set of a resumed run."""
    rng = random.Random(number)
    videos = [
        LabeledVideo(f"{label}/{group}/{video}", (label,), f"{label}-{group}")
        for label in range(rng.randint(2, 12))
        for group in range(rng.randint(1, 30))
        for video in range(rng.randint(1, 9))
    ]
    held_out = split_by_group(videos, fraction, seed=number + 3)[1]
    assert _hash(held_out) == MADE_SPLITS[number, fraction]


@pytest.mark.parametrize(("split", "seed", "fraction"), UCF10_SPLITS)
def test_real_lists_are_split_as_ever(split: int, seed: int, fraction: float) -> None:
    name = f"split{split}_train.txt"
    if not (SHARED_DATA / "ucf10" / name).is_file():
        pytest.skip("needs shared/data/ucf10")
    listed = read_list(SHARED_DATA / "ucf10", name)
    pattern = r"v_(\w+_g\d+)_c"
    videos = label_videos(listed, class_names_of(listed), group_pattern=pattern, source=name)
    assert _hash(split_by_group(videos, fraction, seed=seed)[1]) == UCF10_SPLITS[split, seed, fraction]


@pytest.mark.parametrize("fraction", [0.05, 0.1, 0.2, 0.5, 0.75])
@pytest.mark.parametrize("seed", range(3))
def test_scenes_of_all_classes_stay_whole_and_the_shares_are_exact(fraction: float, seed: int) -> None:
    videos = [LabeledVideo(f"{label}/s{scene}", (label,), f"s{scene}") for scene in range(20) for label in range(6)]
    kept, held_out = split_by_group(videos, fraction, seed=seed)
    assert not {video.group for video in kept} & {video.group for video in held_out}
    assert Counter(video.label for video in held_out) == dict.fromkeys(range(6), 20 * fraction)
    again = split_by_group(videos[::-1], fraction, seed=seed)[1]
    assert {video.path for video in again} == {video.path for video in held_out}


def test_three_sides_share_no_group() -> None:
    videos = [LabeledVideo(f"{label}/s{scene}", (label,), f"s{scene}") for scene in range(20) for label in range(6)]
    rest, test = split_by_group(videos, 0.2, seed=0, name="test")
    train, val = split_by_group(rest, 0.25, seed=1)
    groups = [{video.group for video in part} for part in (train, val, test)]
    assert [len(part) for part in groups] == [12, 4, 4] and len(set.union(*groups)) == 20


def test_the_log_says_how_near_the_shares_are() -> None:
    messages: list[str] = []
    videos = _videos({0: [1] * 10, 1: [5, 5]})
    split_by_group(videos, 0.1, seed=0, class_names=("run", "jump"), on_message=messages.append)
    assert messages == ["val: 6 of 20 videos (30 %, wanted 10 %) in 2 groups; furthest class: jump 50 %"]


def test_a_group_that_holds_all_of_a_class_is_kept_and_the_classes_are_named() -> None:
    """Run lives in scene 0 alone; jump in scenes 0 and 1, of which each is the last of another class."""
    messages: list[str] = []
    groups = {0: ["a"], 1: ["a", "b"], 2: ["b"], 3: ["c", "d"]}
    videos = [LabeledVideo(f"{label}/{name}", (label,), name) for label, names in groups.items() for name in names]
    kept, held_out = split_by_group(
        videos, 0.3, seed=0, class_names=("run", "jump", "swim", "row"), on_message=messages.append
    )
    assert {video.label for video in kept} == {0, 1, 2, 3} and {video.label for video in held_out} == {3}
    assert messages[:2] == [
        "nothing is held out of classes with only one group: run, swim",
        "nothing is held out of classes whose groups hold the last videos of other classes: jump",
    ]


def test_one_group_of_all_videos_is_refused() -> None:
    videos = [LabeledVideo(str(number), (number % 3,), "all") for number in range(9)]
    with pytest.raises(ValueError, match=r"found one group in each; check data.group_pattern"):
        split_by_group(videos, 0.1, seed=0)


def test_a_class_with_one_group_keeps_it_and_is_named() -> None:
    messages: list[str] = []
    kept, held_out = split_by_group(
        _videos({0: [5], 1: [2, 2]}), 0.5, seed=0, class_names=("run", "jump"), on_message=messages.append
    )
    assert {v.label for v in held_out} == {1} and sum(v.label == 0 for v in kept) == 5
    assert messages == [
        "nothing is held out of classes with only one group: run",
        "val: 2 of 9 videos (22.2 %, wanted 50 %) in 1 group; furthest class: run 0 %",
    ]


def test_a_split_that_is_impossible_is_refused() -> None:
    with pytest.raises(ValueError, match="two groups or more to hold out 10% of the videos"):
        split_by_group(_videos({0: [5], 1: [3]}), 0.1, seed=0)


def test_nothing_is_held_out_at_fraction_zero() -> None:
    videos = _videos({0: [5]})
    assert split_by_group(videos, 0.0, seed=0) == (videos, [])
