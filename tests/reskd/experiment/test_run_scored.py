"""A list that is scored has videos, or the settings that would give it some are named."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from reskd.distributed import World
from reskd.experiment.config import parse_config
from reskd.experiment.protocol import write_evaluation
from reskd.experiment.run import answers_of, score_checkpoint
from reskd.training.checkpoint import load_checkpoint
from tests.reskd.feature_files import write_features
from tests.tiny_student import write_checkpoint, write_feature_checkpoint

WORLD = World(0, 1, torch.device("cpu"))


def fault_of(checkpoint: Path) -> str:
    settings = load_checkpoint(checkpoint)["config"]
    settings["data"] |= {"val": None, "val_fraction": 0.0} if settings["data"]["kind"] == "features" else {}
    config = parse_config(settings)
    with pytest.raises(ValueError, match="--split val: expected videos of this split, found none") as raised:
        score_checkpoint(config, checkpoint, world=WORLD, split="val")
    return str(raised.value)


def test_without_validation_videos_both_settings_are_named(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    root = make_folder({"h264": ["libx264"] * 2, "mjpeg": ["mjpeg"] * 2}, num_frames=24)
    data = {"root": str(root), "train": "folders", "val_fraction": 0.0, "scan_cache": str(tmp_path / "scan")}
    fault = fault_of(write_checkpoint(tmp_path / "last.pt", data=data))
    assert "set data.val_fraction above 0 or data.val_pattern, as in training" in fault


def test_of_features_the_pattern_of_files_is_named(tmp_path: Path) -> None:
    write_features(tmp_path)
    fault = fault_of(write_feature_checkpoint(tmp_path / "last.pt", root=tmp_path))
    assert "set data.val, or data.val_fraction above 0, as in training" in fault


def test_a_result_of_other_frames_or_sizes_has_a_name_of_its_own(
    make_folder: Callable[..., Path], tmp_path: Path
) -> None:
    root = make_folder({"left": ["libx264"] * 2, "right": ["mjpeg"] * 2, "up": ["mjpeg"] * 2}, num_frames=24)
    data = {"root": str(root), "train": "folders", "val_fraction": 0.0, "test_fraction": 0.5}
    checkpoint = write_checkpoint(tmp_path / "last.pt", data=data)
    settings = load_checkpoint(checkpoint)["config"]

    def name_of(**changes: Any) -> str:
        config = parse_config({**settings, "data": {**settings["data"], **changes}})
        scored = score_checkpoint(config, checkpoint, world=WORLD, batch_size=10**9)
        answers = answers_of(scored)
        assert answers is not None and len(answers.videos) == scored.result["coverage"]["scored"] == 3
        return write_evaluation(scored.result, tmp_path).name

    plain = "evaluation_test_student_last"
    sampling, views = settings["data"]["sampling"], settings["data"]["views"]
    assert name_of() == f"{plain}.json"
    assert name_of(sampling={**sampling, "test_clips": 2}) == f"{plain}_2x1.json"
    larger = name_of(views={**views, "student": {**views["student"], "size": [48, 48]}})
    fewer = name_of(sampling={**sampling, "num_frames": 1})
    assert (
        all(re.fullmatch(rf"{plain}_other-[0-9a-f]{{6}}\.json", name) for name in (larger, fewer)) and larger != fewer
    )


def test_a_temperature_is_chosen_on_the_validation_list_alone(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    root = make_folder({"left": ["libx264"] * 3, "right": ["mjpeg"] * 3, "up": ["mjpeg"] * 3}, num_frames=6)
    data = {"root": str(root), "train": "folders", "val_fraction": 0.5, "test_fraction": 0.3}
    checkpoint = write_checkpoint(tmp_path / "last.pt", data=data)
    config = parse_config(load_checkpoint(checkpoint)["config"])
    result = score_checkpoint(config, checkpoint, world=WORLD, split="val").result
    assert "temperature" not in score_checkpoint(config, checkpoint, world=WORLD).result
    found = result["temperature"]
    assert found is None or found["log_loss_before"] == pytest.approx(result["metrics"]["log_loss"], rel=1e-6)
