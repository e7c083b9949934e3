from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dali_pipes.config import DataConfig
from reskd.api.loaders import make_loader


@pytest.fixture(scope="module")
def data(make_folder: Callable[..., Path]) -> dict[str, Any]:
    return {
        "root": make_folder({"left": ["libx264"] * 4, "right": ["libx264"] * 4}, num_frames=12),
        "train": "folders",
        "val_fraction": 0.25,
        "sampling": {"num_frames": 2},
        "views": {"teacher": {"size": 32}, "student": {"size": 16}},
        "loader": {"num_workers": 1, "num_threads": 1},
    }


def _take(count: int, *arguments: Any, **options: Any) -> list[Any]:
    loader = make_loader(*arguments, **options)
    try:
        return list(itertools.islice(loader, count))
    finally:
        loader.close()


def test_training_goes_on_exactly_and_ranks_share_the_clips_of_a_step(data: dict[str, Any]) -> None:
    whole = _take(3, data, 4, seed=3)
    (third,) = _take(1, DataConfig.model_validate(data), 4, seed=3, first_batch=2)
    for name in ("teacher", "student"):
        assert torch.equal(third.views[name].data, whole[2].views[name].data)
    ranks = [_take(1, data, 2, seed=3, rank=rank, world_size=2, views=("student",))[0] for rank in range(2)]
    assert torch.equal(torch.cat([rank.ids_N for rank in ranks]), whole[0].ids_N)
    assert set(ranks[0].views) == {"student"}


def test_validation_is_one_pass(data: dict[str, Any]) -> None:
    batches = _take(99, data, 2, split="val")
    assert sum(batch.num_clips for batch in batches) == 2


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"trian": "folders"}, {}, "data: unknown key trian; did you mean train?"),
        ({"views": {"student": {"size": -1}}}, {}, "data: views.student.size"),
        ({"root": "nowhere"}, {}, "nowhere"),
        ({"val_fraction": 0.0}, {"split": "val"}, "split: expected val videos, found none"),
        ({}, {"views": ("both",)}, "both"),
        ({}, {"rank": 2}, "rank: expected 0 to 0, found 2"),
    ],
)
def test_what_does_not_fit_is_a_sentence(
    data: dict[str, Any], change: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        make_loader({**data, **change}, 2, **options)
    assert message in str(caught.value)
