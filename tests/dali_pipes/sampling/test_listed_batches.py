"""Where a loader stands, under any number of ranks; no file is read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dali_pipes.sampling.listed_batches import ListedBatches
from dali_pipes.sampling.order import ReadingOrder
from dali_pipes.sampling.spec import TestViews


class Videos:
    class_names = ("left", "right")

    def __init__(self, count: int = 10, content_hash: str = "abc") -> None:
        self._count, self.content_hash = count, content_hash

    def __len__(self) -> int:
        return self._count


class Batches(ListedBatches):
    """A loader that only counts."""

    def __init__(self, order: ReadingOrder, videos: Videos | None = None) -> None:
        super().__init__(videos or Videos(), order, ("teacher", "student"))
        self.count = 0

    @property
    def _num_yielded(self) -> int:
        return self.count

    def _go_to(self, num_yielded: int) -> None:
        self.count = num_yielded

    def next_positions(self) -> list[int]:
        """Positions of the next batch."""
        self.count += 1
        return [self._order.position(self.count - 1, index, 10) for index in range(self._order.batch_size)]


TRAIN = ReadingOrder(mode="train", batch_size=4, seed=3)


def test_names_and_lengths() -> None:
    batches = Batches(TRAIN)
    assert batches.class_names == ("left", "right") and batches.num_samples == 10
    assert len(batches) == batches.num_batches == 3 and batches.num_test_views == 1
    shown = "Batches(10 videos of 2 classes, 3 batches of 4 clips an epoch, views teacher and student, rank 0 of 1)"
    assert repr(batches) == shown
    test = Batches(ReadingOrder(mode="eval", batch_size=4, world_size=2, test_views=TestViews(3, 1)))
    assert len(test) == 4 and test.num_test_views == 3 and "4 batches of 4 clips a pass" in repr(test)


@pytest.mark.parametrize("first_batch", [0, 5])
def test_a_new_loader_goes_on_where_the_other_stood(first_batch: int) -> None:
    batches = Batches(replace(TRAIN, first_batch=first_batch))
    whole = [batches.next_positions() for _ in range(8)]
    batches = Batches(replace(TRAIN, first_batch=first_batch))
    for _ in range(3):
        batches.next_positions()
    state = batches.state_dict()
    assert state["next_batch"] == first_batch + 3
    other = Batches(TRAIN)
    other.load_state_dict(dict(state))
    assert other.state_dict() == state
    assert [other.next_positions() for _ in range(5)] == whole[3:]
    batches.next_positions()
    batches.load_state_dict(state)  # back in the loader itself
    assert batches.next_positions() == whole[3]


@pytest.mark.parametrize(("world_size", "batch_size"), [(1, 4), (2, 2), (4, 1), (1, 2), (1, 1)])
def test_each_step_holds_the_same_clips_with_another_number_of_ranks(world_size: int, batch_size: int) -> None:
    """A step of 4 clips; one rank with smaller batches accumulates them."""
    state = {**Batches(TRAIN).state_dict(), "next_batch": 5}
    clips: list[int] = []
    for rank in range(world_size):
        order = replace(TRAIN, batch_size=batch_size, rank=rank, world_size=world_size, global_batch_size=4)
        batches = Batches(order)
        batches.load_state_dict(state)
        for _ in range(4 // (world_size * batch_size)):
            clips += batches.next_positions()
    assert sorted(clips) == [20, 21, 22, 23]


def test_within_a_step_only_the_same_ranks_go_on() -> None:
    micro = replace(TRAIN, batch_size=1, global_batch_size=4)
    batches = Batches(micro)
    for _ in range(6):
        batches.next_positions()
    again = Batches(micro)
    again.load_state_dict(batches.state_dict())
    assert again.next_positions() == batches.next_positions()
    with pytest.raises(ValueError, match="expected the end of a step, found 3 of its 4 batches done"):
        Batches(TRAIN).load_state_dict(batches.state_dict())
    halves = Batches(replace(TRAIN, batch_size=2, rank=1, world_size=2, global_batch_size=8))  # 2 batches a step, too
    halves.next_positions()
    with pytest.raises(ValueError, match="expected the end of a step, found 1 of its 2 batches done"):
        Batches(replace(TRAIN, batch_size=1, world_size=4, global_batch_size=8)).load_state_dict(halves.state_dict())
    earlier = {key: value for key, value in halves.state_dict().items() if key != "batch_size"}
    halves.load_state_dict(earlier)
    assert halves.state_dict()["next_batch"] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 4}, "expected seed = 3 of this loader, found 4; make the loader with that seed"),
        ({"clips_per_step": 8}, "expected clips_per_step = 4 .* keep batch_size times the number of ranks"),
        ({"class_sampling": "balanced"}, "class_sampling"),
        ({"videos": "def"}, "the list, its labels or its files have changed"),
        ({"next_batch": None}, "found no next_batch"),
    ],
)
def test_a_state_of_other_clips_is_refused(change: dict[str, Any], message: str) -> None:
    state = {key: value for key, value in {**Batches(TRAIN).state_dict(), **change}.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        Batches(TRAIN).load_state_dict(state)


def test_an_evaluation_has_no_state() -> None:
    batches = Batches(ReadingOrder(mode="eval", batch_size=4))
    with pytest.raises(ValueError, match="expected a training loader, found an evaluation"):
        batches.state_dict()
    with pytest.raises(ValueError, match="expected a training loader, found an evaluation"):
        batches.load_state_dict(Batches(TRAIN).state_dict())


@pytest.mark.parametrize("row", [-1, 10])
def test_a_video_that_is_not_in_the_list(row: int) -> None:
    with pytest.raises(IndexError, match=f"video_id: expected 0 to 9, as in ids_N of a batch, found {row}"):
        Batches(TRAIN)._check_row(row)
