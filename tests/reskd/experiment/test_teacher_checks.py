"""Which teachers may teach which students, on features; and classifiers that two networks share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from reskd.distributed import World
from reskd.experiment.config import ExperimentConfig, parse_config
from reskd.experiment.networks import build_evaluated_model, build_networks, check_networks, scores_of
from reskd.experiment.run import score_checkpoint, train_experiment
from reskd.inference.student import load_trained_student
from reskd.models.teacher import Teacher
from reskd.training.checkpoint import load_checkpoint, save_checkpoint
from tests.reskd.experiment.test_config import tree
from tests.reskd.feature_files import MAX_FRAMES, NUM_CLASSES, network, taught, write_features

CPU = torch.device("cpu")
CODE, PREDICTION = {"embedding": {"alpha": 1}}, {"prediction": {"alpha": 1, "distance": "bernoulli_kl"}}
EXPERTS = {"kind": "mixture_of_experts"}
GATED = EXPERTS | {"gate_probabilities": True}


def config_of(
    teacher: dict[str, Any], loss: dict[str, Any], *, folder: Path = Path("x"), **changes: Any
) -> ExperimentConfig:
    return parse_config(taught(folder, folder / "runs", teacher, loss={"task": "sigmoid_bce", **loss}, **changes))


def joint(**settings: Any) -> dict[str, Any]:
    return {"model": network(**settings), "update": "joint"}


def frozen(weights: Path, **settings: Any) -> dict[str, Any]:
    return {"model": {**network(**settings), "weights": str(weights)}}


def weights_of(folder: Path, **settings: Any) -> Path:
    """A file of a teacher that looks trained."""
    config = config_of(joint(**settings), PREDICTION, student=network(**settings))
    student, _, _ = build_networks(config, num_classes=NUM_CLASSES, device=CPU)
    for parameter in student.head.parameters():
        torch.nn.init.normal_(parameter)
    save_checkpoint(folder / "teacher.pt", {"student": student.state_dict(), "config": config.resolved()})
    return folder / "teacher.pt"


@pytest.mark.parametrize(
    ("teacher", "loss", "message"),
    [
        (joint(kind="mean"), CODE, r"equal sizes E, found 8 \(student\) and 6 \(teacher\); use loss.prediction"),
        (joint(), {"pixel": {"alpha": 1}}, "loss.pixel compares feature maps: .*use loss.embedding or loss.prediction"),
        (
            {**joint(kind="mean"), "shares_head": True},
            PREDICTION,
            "needs classifiers of the same form, .*Linear with weight",
        ),
        (
            {**joint(classifier=EXPERTS), "shares_head": True},
            PREDICTION,
            r"Linear with .* \(student\) and MixtureOfExperts with .* \(teacher\)",
        ),
    ],
)
def test_what_two_families_cannot_share_is_refused_by_name(
    teacher: dict[str, Any], loss: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        check_networks(config_of(teacher, loss))


@pytest.mark.parametrize(("kind", "classifier"), [("mean", None), ("h_rnn", EXPERTS)])
def test_scores_can_be_compared_between_any_families(kind: str, classifier: dict[str, Any] | None) -> None:
    check_networks(config_of(joint(kind=kind, classifier=classifier), PREDICTION))


@pytest.mark.parametrize("classifier", [None, EXPERTS, GATED])
def test_a_frozen_teacher_that_was_never_trained_is_refused(classifier: dict[str, Any] | None, tmp_path: Path) -> None:
    for loss in (CODE, PREDICTION):
        with pytest.raises(ValueError, match="needs a trained teacher, but teacher.model.weights is none"):
            config_of({"model": network()}, loss)
    config = config_of(joint(), PREDICTION, student=network(classifier=classifier))
    student, _, _ = build_networks(config, num_classes=NUM_CLASSES, device=CPU)
    save_checkpoint(tmp_path / "new.pt", {"student": student.state_dict(), "config": config.resolved()})
    never_trained = config_of(frozen(tmp_path / "new.pt", classifier=classifier), PREDICTION)
    with pytest.raises(ValueError, match=r"loss.prediction .*never trained \(its biases are all 0\)"):
        build_networks(never_trained, num_classes=NUM_CLASSES, device=CPU)


def test_a_frozen_teacher_with_a_new_head_has_no_scores_to_teach() -> None:
    teacher = frozen(Path("x.pt"))
    teacher["model"]["weights_head"] = "new"
    for asked, changed in (
        ("loss.prediction", (teacher, PREDICTION)),
        ("loss.logit_map", (teacher, {"task": "softmax_ce", "logit_map": {"alpha": 1}})),
        ("teacher.shares_head", ({**teacher, "shares_head": True}, CODE)),
    ):
        with pytest.raises(ValueError, match=f"{asked} needs a trained teacher's head, but .*head is new"):
            config_of(*changed)
    config_of(teacher, CODE)  # codes come from below the head


@pytest.mark.parametrize(
    ("update", "idle"), [({"update": "joint"}, "teacher"), ({"update": "frozen"}, "student")], ids=["joint", "frozen"]
)
def test_a_network_that_has_only_the_shared_head_is_refused(update: dict[str, str], idle: str) -> None:
    model = network(kind="mean") | {"weights": "x.pt"}
    config = config_of({"model": model, **update, "shares_head": True}, CODE, student=network(kind="mean"))
    with pytest.raises(ValueError, match=f"the {idle} has no weights of its own to train: .*in mean on rgb; leave t"):
        check_networks(config)


def test_batch_norm_in_a_shared_head_is_refused_where_it_would_see_two_batches() -> None:
    student, model = network(classifier=GATED), network(classifier=GATED) | {"weights": "x.pt"}
    shared: dict[str, Any] = {"model": model, "shares_head": True}
    for settings, advice in (
        ({"update": "joint"}, "or leave teacher.shares_head out"),
        ({"batch_norm": "batch_stats"}, "or teacher.batch_norm = running_stats"),
    ):
        with pytest.raises(ValueError, match=f"found classifier.gate_probabilities; set that to false, {advice}"):
            check_networks(config_of(shared | settings, CODE, student=student))
    check_networks(config_of(shared | {"batch_norm": "running_stats"}, CODE, student=student))


def test_random_frames_have_no_moments_for_a_feature_map() -> None:
    changed = tree(loss={"pixel": {"alpha": 1}, "time": "nearest"})
    changed["data"]["views"]["student"] |= {"num_frames": 4, "selection": "random"}
    with pytest.raises(ValueError, match="loss.pixel compares frames of the same times, but .*selection = random"):
        parse_config(changed)


@pytest.mark.parametrize(("selection", "expected"), [("uniform", [0, 2, 4, 6]), ("last", [4, 5, 6, 7])])
def test_the_pixel_term_compares_the_frames_that_the_student_really_sees(selection: str, expected: list[int]) -> None:
    changed = tree(loss={"pixel": {"alpha": 1}, "time": "nearest"})
    changed["data"]["views"]["student"] |= {"num_frames": 4, "selection": selection}
    config = parse_config(changed)
    _, _, loss = build_networks(config, num_classes=3, device=torch.device("meta"))
    assert [frame for frame, _ in loss.timestamps or ()] == expected


def test_the_student_takes_a_frozen_teachers_head_as_it_is(tmp_path: Path) -> None:
    weights = weights_of(tmp_path, classifier=GATED)
    shared = {**frozen(weights, classifier=GATED), "shares_head": True, "batch_norm": "running_stats"}
    config = config_of(shared, CODE, student=network(classifier=GATED))
    student, teacher, _ = build_networks(config, num_classes=NUM_CLASSES, device=CPU)
    assert isinstance(teacher, Teacher)
    for (name, mine), theirs in zip(
        student.head.state_dict().items(), teacher.model.head.state_dict().values(), strict=True
    ):
        assert torch.equal(mine, theirs) and mine.data_ptr() != theirs.data_ptr(), name
    assert not any(parameter.requires_grad for parameter in student.head.parameters())
    assert any(parameter.requires_grad for parameter in student.parameters())


def test_a_joint_teacher_and_its_student_have_one_head(tmp_path: Path) -> None:
    folder = write_features(tmp_path)
    config = config_of(
        {**joint(classifier=EXPERTS), "shares_head": True},
        {**CODE, **PREDICTION},
        folder=folder,
        student=network(block_length=2, classifier=EXPERTS),
    )
    run = train_experiment(config, world=World(0, 1, CPU))
    state = load_checkpoint(run.last)
    for name in (name for name in state["student"] if name.startswith("head.")):
        assert torch.equal(state["student"][name], state["teacher"][name])
    student = load_trained_student(run.last, CPU)  # its file alone is enough
    data = torch.randint(0, 256, (2, *student.shape), dtype=torch.uint8)
    assert student.model(data).logits_NK.shape == (2, NUM_CLASSES)


def test_a_joint_teacher_is_evaluated_from_the_students_checkpoint(tmp_path: Path) -> None:
    folder = write_features(tmp_path)
    config = config_of(joint(kind="mean"), PREDICTION, folder=folder)
    run = train_experiment(config, world=World(0, 1, CPU))
    last = json.loads(run.metrics.read_text().splitlines()[-1])
    result = score_checkpoint(config, run.last, world=World(0, 1, CPU), split="val", which="teacher").result
    assert last["val_teacher/map"] == pytest.approx(result["metrics"]["map"])
    assert last["val/map"] != last["val_teacher/map"]
    state = load_checkpoint(run.last)
    assert state["teacher_hash"] is None and scores_of(config, "teacher") == "sigmoid"
    model = build_evaluated_model(config, state, which="teacher", source="x", device=CPU).eval()
    assert all(torch.equal(value, state["teacher"][name]) for name, value in model.state_dict().items())
    data = torch.randint(0, 256, (2, MAX_FRAMES, 6), dtype=torch.uint8)
    assert model(data).logits_NK.shape == (2, NUM_CLASSES)
    other = config_of({"model": {**network(kind="mean"), "normalize_frames": False}, "update": "joint"}, PREDICTION)
    with pytest.raises(ValueError, match="trained with teacher.normalize_frames = True, the config has False"):
        build_evaluated_model(other, state, which="teacher", source="x", device=CPU)
