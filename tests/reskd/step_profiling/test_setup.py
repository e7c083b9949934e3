from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
import torch

from reskd.distributed import World
from reskd.experiment.config import load_config
from reskd.experiment.stages import choose_stage, load_stages, teacher_stage
from reskd.profiling.flops import count_macs
from reskd.step_profiling.setup import speed_run
from tests.reskd.experiment.test_stages import STUDENT, TEACHER, write_stages
from tests.reskd.feature_files import write_features

WORLD = World(0, 1, torch.device("cpu"))


def test_a_teacher_that_is_not_trained_yet_gets_random_weights(tmp_path: Path) -> None:
    configs = load_stages(write_stages(write_features(tmp_path), TEACHER, STUDENT))
    config = choose_stage(configs, "student")
    run = speed_run(config, teacher_stage(config, configs), world=WORLD, folder=tmp_path / "run", with_data=True)
    assert run.loader is not None
    with closing(run.loader) as loader:
        run.trainer.train_step(iter(loader))
    assert all(value.isfinite().all() for value in run.trainer.trainable.state_dict().values())
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", ["teacher", "student"])
def test_without_data_any_config_can_be_timed(name: str, tmp_path: Path) -> None:
    """Three times the operations of what is trained, but for the first layer, whose input has no gradient; and once
    those of a frozen teacher."""
    config = load_config(f"configs/demo/{name}.yaml")
    run = speed_run(config, None, world=WORLD, folder=tmp_path, with_data=False)
    student = count_macs(run.trainer.trainable.student, (4, 64, 64) if name == "teacher" else (4, 48, 48))
    teacher = count_macs(run.trainer.teacher, (4, 64, 64)).total if run.trainer.teacher is not None else 0
    assert (teacher > 0) == (name == "student")
    first = student.parts["backbone.conv1"].macs
    assert run.flops_per_clip == 2 * (3 * student.total - first + teacher)
    assert run.loader is None


def test_a_frozen_backbone_has_no_backward_pass(tmp_path: Path) -> None:
    config = load_config("configs/demo/teacher.yaml", ["student.frozen_stages=all", "student.weights=torchvision"])
    run = speed_run(config, None, world=WORLD, folder=tmp_path, with_data=False)
    forward = count_macs(run.trainer.trainable.student, (4, 64, 64))
    assert 2 * forward.total <= run.flops_per_clip <= 2 * (forward.total + 2 * forward.head)


def test_grouped_convolutions_are_counted_by_their_groups(tmp_path: Path) -> None:
    config = load_config("configs/demo/teacher.yaml", ["student.backbone=mobilenet_v2"])
    run = speed_run(config, None, world=WORLD, folder=tmp_path, with_data=False)
    student = count_macs(run.trainer.trainable.student, (4, 64, 64))
    assert 2.8 * 2 * student.total < run.flops_per_clip < 3 * 2 * student.total
