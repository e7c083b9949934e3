from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from dali_pipes.sampling.spec import TestViews
from reskd.distributed import World
from reskd.experiment import build, clip_data
from reskd.training.plan import Plan
from tests.reskd.experiment.test_config import parse_config, tree


@pytest.mark.parametrize(
    ("changes", "expected"), [({}, TestViews(1, 1)), ({"val_clips": 2, "val_crops": 3}, TestViews(2, 3))]
)
def test_validation_shows_one_clip_and_one_crop_unless_told(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], expected: TestViews
) -> None:
    asked: dict[str, Any] = {}

    def remember(*_: Any, **options: Any) -> SimpleNamespace:
        asked.update(options)
        return SimpleNamespace(close=lambda: None)

    monkeypatch.setattr(clip_data, "ClipLoader", remember)
    changed_tree = tree()
    changed_tree["data"]["sampling"] = {"test_clips": 10, "test_crops": 3, **changes}
    manifest: Any = ["a video"]
    build._validation(parse_config(changed_tree), manifest, "student", 4, World(0, 1, torch.device("cpu")))
    assert asked["order"].test_views == expected and asked["order"].mode == "eval"


def test_a_step_of_several_passes_is_not_replayed_as_graphs() -> None:
    config = parse_config(tree(runtime={"compile": "all", "cuda_graphs": True}))
    one_pass = Plan(num_clips=64, global_batch_size=8, clips_per_pass=8, world_size=1, total_steps=8)
    build._check_graphs(config, one_pass)
    with pytest.raises(ValueError, match="runtime.cuda_graphs: expected one pass a step, found 2 of 4 clips"):
        build._check_graphs(config, replace(one_pass, clips_per_pass=4))
