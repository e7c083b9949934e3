"""Student, teacher and loss as one config wants them, and what is refused before any work."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torchvision.models import resnet18

from dali_pipes.sampling.spec import student_frames
from reskd.distributed import World
from reskd.experiment.networks import (
    build_evaluated_model,
    build_networks,
    check_networks,
    check_teacher_classes,
    teacher_model,
    view_of,
    view_shapes,
)
from reskd.experiment.run import train_experiment
from reskd.models.common_config import KEPT_PARTS
from tests.reskd.experiment.test_config import parse_config, tree

META = torch.device("meta")


def unequal_tree(*, loss: dict[str, Any], k: int | None = None, **changes: Any) -> dict[str, Any]:
    """A ResNet-50 (2048 channels) teaches a ResNet-18 (512) that sees k of 8 frames."""
    changed_tree = tree(loss=loss, **changes)
    changed_tree["teacher"] = {"model": {"backbone": "resnet50", "weights": "x.pt"}, "batch_norm": "running_stats"}
    changed_tree["data"]["views"]["student"]["num_frames"] = k
    return changed_tree


PIXEL, LINEAR, LOGIT_MAP = {"alpha": 1}, {"alpha": 1, "projection": "linear"}, {"alpha": 200}


@pytest.mark.parametrize(
    ("loss", "k", "message"),
    [
        ({"pixel": PIXEL}, None, r"512 channels \(student\) and 2048 \(teacher\); set loss.pixel.projection to linear"),
        ({"pixel": PIXEL, "logit_map": LOGIT_MAP}, None, "512 channels"),
        ({"pixel": LINEAR}, 4, r"4 feature frames of the student \(0, 2, 4, 6\) and 8 .*set loss.time to nearest"),
        ({"frame": {"alpha": 1}}, 3, r"3 feature frames of the student \(0, 2, 5\) and 8 .*set loss.time to nearest"),
        ({"logit_map": LOGIT_MAP}, 3, r"3 feature frames of the student \(0, 2, 5\) and 8 .*set loss.time to nearest"),
    ],
)
def test_networks_that_cannot_be_compared_are_refused_before_any_video_is_looked_into(
    loss: dict[str, Any], k: int | None, message: str, tmp_path: Path
) -> None:
    config = parse_config(unequal_tree(loss=loss, k=k, runs=str(tmp_path / "runs")))
    with pytest.raises(ValueError, match=message):  # the data is not there either
        train_experiment(config, world=World(0, 1, torch.device("cpu")))
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "loss",
    [
        {"pixel": LINEAR, "time": "nearest"},
        {"logit_map": LOGIT_MAP, "time": "interpolate"},
        {"pixel": LINEAR, "logit_map": LOGIT_MAP, "time": "nearest"},
        {"clip": {"alpha": 1}},
        {"frame": {"alpha": 1}, "clip": {"alpha": 1}, "pixel": LINEAR, "time": "nearest"},
    ],
)
def test_what_the_networks_give_is_what_the_loss_takes(loss: dict[str, Any]) -> None:
    config = parse_config(unequal_tree(loss=loss, k=3))
    student, teacher, distillation = build_networks(config, num_classes=5, device=META)
    assert teacher is not None
    for module in (student, teacher, distillation):
        module.to_empty(device="cpu")  # shapes matter here, and not values
    shapes = view_shapes(config)
    seen, shown = (torch.zeros(2, *shapes[name], 3, dtype=torch.uint8) for name in ("student", "teacher"))
    terms = distillation(student(seen), torch.zeros(2, dtype=torch.int64), teacher(shown))
    assert set(terms.unweighted) == {"task", *loss} - {"time"}
    assert student.gives_logit_map == teacher.model.gives_logit_map == ("logit_map" in loss)
    assert student.gives_frame_logits == teacher.model.gives_frame_logits == ("frame" in loss)


def test_a_student_that_sees_k_frames_is_compared_with_the_views_own_choice_of_frames() -> None:
    config = parse_config(unequal_tree(loss={"pixel": LINEAR, "time": "nearest"}, k=3))
    _, _, distillation = build_networks(config, num_classes=5, device=META)
    assert [frame for frame, _ in distillation.timestamps or ()] == student_frames(3, 8)


@pytest.mark.parametrize("k", [None, 3])
def test_a_teacher_may_see_what_the_student_sees(k: int | None) -> None:
    changed = unequal_tree(loss={"pixel": LINEAR, "frame": {"alpha": 1}}, k=k)
    changed["teacher"]["sees"] = "student_view"
    config = parse_config(changed)
    shapes = view_shapes(config)
    assert list(shapes) == ["student", "teacher"] and shapes["teacher"] == shapes["student"]
    assert [view_of(config, name) for name in ("student", "teacher")] == ["student", "student"]
    _, _, distillation = build_networks(config, num_classes=5, device=META)
    assert distillation.timestamps is None  # the same frames
    del changed["data"]["views"]["teacher"]
    changed["data"]["views"]["student"]["source"] = "decoded"
    assert view_shapes(parse_config(changed)) == shapes
    del changed["teacher"]["sees"]
    with pytest.raises(ValueError, match="a teacher is named, but it has no view; .* or teacher.sees=student_view"):
        parse_config(changed)


SWIN = {"family": "swin", "backbone": "swin3d_t"}


@pytest.mark.parametrize(("k", "shares"), [(None, None), (4, [(0, 0.25), (2, 0.25)])])
def test_swin_is_matched_by_the_moments_of_its_patches(k: int | None, shares: list[tuple[int, float]] | None) -> None:
    changed_tree = unequal_tree(loss={"logit_map": LOGIT_MAP, "time": "interpolate"}, k=k, student=SWIN)
    changed_tree["teacher"]["model"] |= {"family": "swin", "backbone": "swin3d_b"}
    student, teacher, distillation = build_networks(parse_config(changed_tree), num_classes=5, device=META)
    assert teacher is not None
    assert (student.feature_dim, teacher.model.feature_dim) == (768, 1024)
    assert distillation.timestamps == (None if shares is None else tuple(shares))


def test_a_view_that_a_network_cannot_take_is_named_before_any_video_is_looked_into() -> None:
    config = parse_config(unequal_tree(loss={"logit_map": LOGIT_MAP, "time": "nearest"}, k=5, student=SWIN))
    with pytest.raises(ValueError, match="data.views.student does not suit swin3d_t.*: .*multiple of 2 frames"):
        check_networks(config)


def test_the_logit_map_refuses_a_head_that_was_never_trained(tmp_path: Path) -> None:
    backbone = {name: value for name, value in resnet18().state_dict().items() if not name.startswith("fc.")}
    torch.save(backbone, tmp_path / "backbone.pt")
    changed_tree = tree(loss={"logit_map": LOGIT_MAP})
    changed_tree["teacher"]["model"]["weights"] = str(tmp_path / "backbone.pt")
    with pytest.raises(ValueError, match=r"this one was never trained \(its biases are all 0\)"):
        build_networks(parse_config(changed_tree), num_classes=5, device=torch.device("cpu"))


def test_the_logit_map_refuses_a_teacher_whose_classes_were_trained_one_by_one(tmp_path: Path) -> None:
    stage = tree(loss={"task": "sigmoid_bce"}, teacher=None)
    stage["data"]["views"] = {"student": {"size": 64, "source": "decoded"}}
    (tmp_path / "stage.yaml").write_text(yaml.safe_dump(stage))
    teacher = {"stage": str(tmp_path / "stage.yaml"), "batch_norm": "running_stats"}
    config = parse_config(tree(loss={"logit_map": LOGIT_MAP}, teacher=teacher))
    with pytest.raises(ValueError, match=r"teacher's stage was trained with loss.task = sigmoid_bce"):
        check_networks(config)


@pytest.mark.parametrize(
    ("num_frames", "k", "message"),
    [(8, None, None), (16, 8, None), (8, 4, "sees 8 frames .data.sampling.num_frames.*on 4;"), (6, None, None)],
)
def test_a_teacher_of_pixels_that_was_shown_a_part_of_its_clips_is_refused_and_one_of_shorter_clips_is_not(
    num_frames: int, k: int | None, message: str | None, tmp_path: Path
) -> None:
    stage = tree(teacher=None, loss={})
    stage["data"]["views"] = {"student": {"size": 64, "source": "decoded", "num_frames": k}}
    stage["data"]["sampling"] = {"num_frames": num_frames}
    (tmp_path / "stage.yaml").write_text(yaml.safe_dump(stage))
    teacher = {"stage": str(tmp_path / "stage.yaml"), "batch_norm": "running_stats"}
    config = parse_config(tree(loss={"pixel": PIXEL}, teacher=teacher))
    with nullcontext() if message is None else pytest.raises(ValueError, match=message):
        check_networks(config)


def test_a_checkpoint_with_a_projection_evaluates_without_it() -> None:
    config = parse_config(unequal_tree(loss={"pixel": LINEAR}))
    student, _, distillation = build_networks(config, num_classes=2, device=META)
    student = student.to_empty(device="cpu")  # whatever lay in memory, NaN too
    for tensor in (*student.parameters(), *student.buffers()):
        tensor.detach().zero_()
    torch.nn.init.normal_(student.head.weight)
    state = {
        "student": student.state_dict(),
        "loss": distillation.state_dict(),
        "class_names": ["a", "b"],
        "config": config.resolved(),
    }
    assert set(state["loss"]) == {"projection.linear.weight", "projection.linear.bias"}
    model = build_evaluated_model(config, state, which="student", source="x", device=torch.device("cpu"))
    assert not any("projection" in name for name in model.state_dict())
    assert torch.equal(model.head.weight, student.head.weight)
    assert not model.gives_logit_map


def test_the_head_of_a_stage_is_kept_though_the_stage_itself_began_with_a_new_one(tmp_path: Path) -> None:
    stage = tree(runs=str(tmp_path), student={"backbone": "resnet18", "weights_head": "new"})
    stage["data"]["views"] = {"student": {"size": tree()["data"]["views"]["teacher"]["size"], "source": "decoded"}}
    stage = {key: value for key, value in stage.items() if key not in ("teacher", "loss")}
    (tmp_path / "stage.yaml").write_text(yaml.safe_dump(stage))
    changed = tree(runs=str(tmp_path), loss={"pixel": PIXEL})
    changed["teacher"] = {"stage": str(tmp_path / "stage.yaml"), "batch_norm": "running_stats"}
    assert teacher_model(parse_config(changed)).weights_head == "keep"
    changed["teacher"]["checkpoint"] = "best"
    assert teacher_model(parse_config(changed)).weights.endswith("/best.pt")


AGGREGATED = {
    "family": "aggregated",
    "backbone": "resnet18",
    "aggregator": {"kind": "mean"},
    "classifier": {"kind": "linear"},
}


@pytest.mark.parametrize(
    ("student", "loss", "idle"),
    [
        ({"backbone": "resnet18", "frozen_stages": "all"}, {"pixel": PIXEL}, "pixel"),
        ({"backbone": "resnet18", "frozen_stages": 4}, {"pixel": LINEAR}, "pixel"),
        ({"backbone": "resnet18", "frozen_stages": 3}, {"pixel": PIXEL}, None),
        ({"backbone": "resnet18", "frozen_stages": "all"}, {"clip": {"alpha": 1}}, None),
        ({**AGGREGATED, "frozen_stages": "all"}, {"embedding": {"alpha": 1}}, "embedding"),
    ],
)
def test_a_term_from_which_nothing_learns_is_refused(
    student: dict[str, Any], loss: dict[str, Any], idle: str | None
) -> None:
    changed = tree(student={**student, "weights": "x.pt"}, loss=loss)
    network = AGGREGATED if student.get("family") else {"backbone": "resnet18"}
    changed["teacher"] = {"model": {**network, "weights": "x.pt"}, "batch_norm": "running_stats"}
    refused = rf"loss\.{idle} compares .* nothing learns there, as student\.frozen_stages = (all|4) keeps the whole"
    with pytest.raises(ValueError, match=refused) if idle else nullcontext():
        check_networks(parse_config(changed))


def test_a_stage_that_kept_parts_of_its_weights_teaches_as_any_other(tmp_path: Path) -> None:
    kept = {"batch_norm": "running_stats", "frozen_stages": 2}
    stage = tree(runs=str(tmp_path), student={"backbone": "resnet18", "weights": "IMAGENET1K_V1", **kept})
    stage["data"]["views"] = {"student": {"size": tree()["data"]["views"]["teacher"]["size"], "source": "decoded"}}
    stage = {key: value for key, value in stage.items() if key not in ("teacher", "loss")}
    (tmp_path / "stage.yaml").write_text(yaml.safe_dump(stage))
    changed = tree(runs=str(tmp_path), loss={"pixel": PIXEL})
    changed["teacher"] = {"stage": str(tmp_path / "stage.yaml"), "batch_norm": "batch_stats"}
    model = teacher_model(parse_config(changed))
    assert {key: getattr(model, key) for key in KEPT_PARTS} == KEPT_PARTS


def test_a_teacher_of_mmaction2_carries_no_class_names_and_is_trusted(tmp_path: Path) -> None:
    torch.save({"meta": {}, "state_dict": {"cls_head.fc_cls.bias": torch.zeros(2)}}, tmp_path / "theirs.pth")
    changed = unequal_tree(loss={"pixel": LINEAR})
    changed["teacher"]["model"]["weights"] = str(tmp_path / "theirs.pth")
    check_teacher_classes(parse_config(changed), ("a", "b"))


def test_a_teachers_file_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "broken.pth").write_bytes(b"PK")
    changed = unequal_tree(loss={"pixel": LINEAR})
    changed["teacher"]["model"]["weights"] = str(tmp_path / "broken.pth")
    with pytest.raises(ValueError, match=r"broken.pth: expected a file of tensors[^\n]*$"):
        check_teacher_classes(parse_config(changed), ("a", "b"))
