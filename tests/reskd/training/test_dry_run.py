from __future__ import annotations

import pytest
import torch

from reskd.distributed import World
from reskd.faults import sentence_of
from reskd.training import dry_run
from reskd.training.dry_run import choose_clips_per_pass, noise_batch


def test_noise_has_the_shapes_of_the_views() -> None:
    batch = noise_batch({"teacher": (4, 16, 12), "student": (2, 8, 6)}, 3)
    assert batch.views["teacher"].data_NTHWC.shape == (3, 4, 16, 12, 3)
    assert batch.views["student"].data_NTHWC.shape == (3, 2, 8, 6, 3)


def refuse(num_clips: int) -> None:
    raise AssertionError("a CPU needs no trial")


@pytest.mark.parametrize(("most", "expected"), [(None, 12), (12, 12), (7, 6), (5, 4), (1, 1)])
def test_on_a_cpu_the_share_of_a_rank_or_the_largest_equal_part(most: int | None, expected: int) -> None:
    world = World(0, 2, torch.device("cpu"))
    chosen = choose_clips_per_pass(global_batch_size=24, most=most, world=world, try_pass=refuse)
    assert chosen == expected


def test_on_a_gpu_fewer_and_fewer_clips_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def fits(try_pass: object, num_clips: int) -> bool:
        tried.append(num_clips)
        return num_clips <= 3

    monkeypatch.setattr(dry_run, "_fits", fits)
    world = World(0, 1, torch.device("cuda"))
    assert choose_clips_per_pass(global_batch_size=12, most=None, world=world, try_pass=refuse) == 3
    assert tried == [12, 6, 4, 3]
    monkeypatch.setattr(dry_run, "_fits", lambda try_pass, num_clips: False)
    with pytest.raises(ValueError, match="one clip does not fit the GPU"):
        choose_clips_per_pass(global_batch_size=12, most=None, world=world, try_pass=refuse)


def test_too_little_memory_on_a_cpu_is_an_error_and_no_kill(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reskd.memory.available_bytes", lambda: 2**30)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    with pytest.raises(RuntimeError) as caught, dry_run.within_memory(World(0, 4, torch.device("cpu"))):
        torch.empty(2**29, dtype=torch.uint8)
    assert "lower training.max_clips_per_pass" in str(sentence_of(caught.value))
    with dry_run.within_memory(World(0, 4, torch.device("cuda"))):
        torch.empty(2**29, dtype=torch.uint8)


def test_a_batch_that_does_not_split_over_ranks_is_refused() -> None:
    world = World(0, 3, torch.device("cpu"))
    with pytest.raises(ValueError, match="global_batch_size = 8: expected a multiple of the 3 processes"):
        choose_clips_per_pass(global_batch_size=8, most=None, world=world, try_pass=refuse)
