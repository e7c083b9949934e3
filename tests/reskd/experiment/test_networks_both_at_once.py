"""Fewer frames and lower resolution at once: which frames the terms compare."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from dali_pipes.sampling.order import ReadingOrder
from reskd.experiment.networks import build_networks
from tests.dali_pipes.synthetic_loader import SyntheticLoader, synthetic_manifest
from tests.reskd.experiment.test_config import parse_config, tree

NUM_FRAMES, NUM_CLASSES = 8, 5


def both_tree(student: dict[str, Any], **loss: Any) -> dict[str, Any]:
    """T = 8 frames at 64 teach k at 32, whose map has one place where the teacher's has four."""
    aggregator = {"kind": "nextvlad", "num_clusters": 4, "num_splits": 2, "hidden_dim": 8}
    model = {"family": "aggregated", "backbone": "resnet18", "aggregator": aggregator, "classifier": {"kind": "linear"}}
    terms = {"embedding": {"alpha": 1, "reduction": "mean"}, "prediction": {"alpha": 1, "distance": "kl"}, **loss}
    data = {
        "root": "data",
        "train": "train.csv",
        "sampling": {"num_frames": NUM_FRAMES},
        "views": {"teacher": {"size": 64}, "student": {"size": 32, **student}},
    }
    teacher = {"model": model, "update": "joint", "batch_norm": "batch_stats"}  # which needs no weights
    return tree(data=data, student=model, teacher=teacher, loss=terms)


@pytest.mark.parametrize(
    ("selection", "indices"),
    [("uniform", [0, 2, 5]), ("first_middle_last", [0, 3, 7])],
)
def test_the_pixel_term_compares_each_of_the_students_frames_with_the_same_frame_of_the_teacher(
    selection: str, indices: list[int]
) -> None:
    view = {"num_frames": 3, "selection": selection}
    config = parse_config(both_tree(view, pixel={"alpha": 100}, time="nearest"))
    student, teacher, loss = build_networks(config, num_classes=NUM_CLASSES, device=torch.device("cpu"))
    assert teacher is not None and loss.timestamps is not None
    assert [timestamp.before for timestamp in loss.timestamps] == indices and not any(
        m.share_of_next for m in loss.timestamps
    )
    order = ReadingOrder(mode="train", batch_size=2)
    loader = SyntheticLoader(
        synthetic_manifest(4, NUM_CLASSES), config.clips, order=order, views=("teacher", "student")
    )
    batch = next(iter(loader))
    shown, seen = batch.views["teacher"], batch.views["student"]
    assert torch.equal(seen.frame_index_NT, shown.frame_index_NT[:, indices])
    with torch.no_grad():
        taught = teacher(shown.data, shown.valid_NT)
    output = student.train()(seen.data, seen.valid_NT)
    terms = loss(output, batch.targets, taught)

    assert set(terms.unweighted) == {"task", "pixel", "embedding", "prediction"}
    teacher_BDHW = taught.features_NTDHW[:, indices].flatten(0, 1)
    enlarged_BDHW = F.interpolate(output.features_NTDHW.flatten(0, 1), teacher_BDHW.shape[2:], mode="bilinear")
    torch.testing.assert_close(terms.unweighted["pixel"], F.mse_loss(enlarged_BDHW, teacher_BDHW))
    assert output.embedding_NE is not None and taught.embedding_NE is not None
    torch.testing.assert_close(terms.unweighted["embedding"], F.mse_loss(output.embedding_NE, taught.embedding_NE))
    terms.total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in student.parameters())


def test_terms_of_whole_clips_alone_take_random_frames_and_the_pixel_term_does_not() -> None:
    view = {"num_frames": 3, "selection": "random"}
    build_networks(parse_config(both_tree(view)), num_classes=NUM_CLASSES, device=torch.device("meta"))
    with pytest.raises(ValueError, match=r"loss.pixel compares frames of the same times.*selection\s*= random"):
        parse_config(both_tree(view, pixel={"alpha": 100}, time="nearest"))
