"""``loss.intermediate`` in an experiment: which networks it needs, what it trains, what a student alone computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from reskd.distributed import World
from reskd.experiment.config import ExperimentConfig, parse_config
from reskd.experiment.networks import build_networks, check_networks
from reskd.experiment.run import train_experiment
from reskd.models.families.registry import build_recognizer
from reskd.models.teacher import Teacher
from reskd.training.run_directory import config_hash
from reskd.training.trainable import Networks, Trainable
from tests.reskd.experiment.test_config import tree
from tests.reskd.feature_files import DIM, MAX_FRAMES, NUM_CLASSES, network, taught, write_features

CPU = torch.device("cpu")
TERM = {"task": "sigmoid_bce", "intermediate": {"alpha": 1}}


def _config(student: dict[str, Any], teacher: dict[str, Any], folder: Path = Path("x")) -> ExperimentConfig:
    joint = {"model": teacher, "update": "joint"}
    return parse_config(taught(folder, folder / "runs", joint, student=student, loss=TERM))


def _batch() -> tuple[dict[str, tuple[torch.Tensor, torch.Tensor]], torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    views = {
        name: (
            torch.randint(0, 256, (2, length, DIM), dtype=torch.uint8, generator=generator),
            torch.ones(2, length) > 0,
        )
        for name, length in (("student", 4), ("teacher", MAX_FRAMES))
    }
    return views, torch.eye(NUM_CLASSES)[:2] > 0


@pytest.mark.parametrize(
    ("student", "teacher", "message"),
    [
        (network(block_length=2), network("netvlad", num_clusters=2, hidden_dim=8), "loss.intermediate .* a teacher"),
        (network("mean"), network(), "loss.intermediate .* expected a student with aggregator.kind = h_rnn"),
        (network(block_length=4), network(), "expected a student with two blocks or more, found one block"),
        (network(block_length=2), network(hidden_dim=8), r"equal sizes, found 8 \(student\) and 16 \(teacher\)"),
    ],
)
def test_networks_that_cannot_be_compared_are_refused_without_data(
    student: dict[str, Any], teacher: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        check_networks(_config(student, teacher))


def test_networks_on_pixels_without_an_aggregator_are_refused() -> None:
    settings = tree(loss={"intermediate": {"alpha": 1}})
    settings["teacher"] = {"model": {"backbone": "resnet18", "weights": "x.pt"}, "batch_norm": "running_stats"}
    with pytest.raises(ValueError, match="loss.intermediate compares the states of H-RNN"):
        check_networks(parse_config(settings))


def test_it_trains_the_student_and_no_teacher_frozen_or_joint() -> None:
    config = _config(network(block_length=2), network(block_length=4))
    student, joint, loss = build_networks(config, num_classes=NUM_CLASSES, device=CPU)
    assert joint is not None and config.teacher is not None
    views, targets = _batch()
    step = Trainable.of(Networks(student, joint, loss))(views, targets)
    assert step.losses["intermediate"] > 0
    with_term = _gradients(step.total, joint)
    task = loss.task(joint(*views["teacher"]).logits_NK, targets)
    alone = _gradients(task, joint)
    assert with_term.keys() == alone.keys()
    for name, gradient in alone.items():
        torch.testing.assert_close(with_term[name], gradient)  # a joint teacher learns from its own labels alone
    frozen = Teacher(joint, config.teacher.model_copy(update={"batch_norm": "running_stats"}))
    output = frozen(*views["teacher"])
    assert output.block_states_NGE is not None and not output.block_states_NGE.requires_grad
    found = _gradients(loss._intermediate(student(*views["student"]), output), student)
    reached = {name for name, gradient in found.items() if gradient.any()}
    # One of the two blocks is compared: before it there is no state for weight_hh to multiply. The head comes later.
    names = {name for name, _ in student.named_parameters() if not name.startswith("head.")}
    assert reached == names - {"aggregator.upper.layers.0.weight_hh_l0"}
    assert not any(value.requires_grad for value in frozen.parameters())


def _gradients(total: torch.Tensor, trained: torch.nn.Module) -> dict[str, torch.Tensor]:
    trained.zero_grad()
    total.backward()
    return {name: value.grad.clone() for name, value in trained.named_parameters() if value.grad is not None}


def test_a_student_alone_gives_no_states_and_computes_the_same() -> None:
    config = _config(network(block_length=2), network())
    student, _, _ = build_networks(config, num_classes=NUM_CLASSES, device=CPU)
    alone = build_recognizer(config.student, NUM_CLASSES)
    alone.load_state_dict(student.state_dict())  # no weights of the term's own
    view = _batch()[0]["student"]
    output = alone.eval()(*view)
    assert output.block_states_NGE is None and output.block_valid_NG is None
    torch.testing.assert_close(student.eval()(*view).logits_NK, output.logits_NK)


def test_a_run_learns_with_it_and_logs_it(tmp_path: Path) -> None:
    config = _config(network(block_length=2), network(), write_features(tmp_path))
    logged: list[Any] = []
    train_experiment(config, world=World(0, 1, CPU), on_log=lambda name, step, total, values: logged.append(values))
    assert all(values["loss/intermediate"] > 0 for values in logged)


def test_runs_of_versions_without_the_setting_keep_their_hash() -> None:
    settings = parse_config(taught(Path("x"), Path("x"), {"model": network(), "update": "joint"},
                                   loss={"embedding": {"alpha": 1}})).resolved()  # fmt: skip
    without = {**settings, "loss": {key: value for key, value in settings["loss"].items() if key != "intermediate"}}
    assert settings["loss"]["intermediate"] is None
    assert config_hash(without) == config_hash(settings)
