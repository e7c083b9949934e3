from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dali_pipes.batch import ClipBatch, FeatureView, View
from reskd.pages.style import LIGHT
from reskd.training.board.labeled_clips import Answered, Caption, captions_of, picture_of
from reskd.training.settings.recipes import MixingConfig
from tests.reskd.training.tiny import make_trainer

NAMES = ["archery", "bowling", "line\nbreak", "diving"]
BLUE, ORANGE = (tuple(bytes.fromhex(LIGHT[name][1:])) for name in ("c0", "c1"))


def views_of(**shapes: tuple[int, ...]) -> ClipBatch:
    """Clips whose frame t has the brightness 10 * t."""
    views = {}
    for name, (clips, frames, height, width) in shapes.items():
        data = (10 * torch.arange(frames, dtype=torch.uint8))[None, :, None, None, None]
        index = torch.arange(frames).repeat(clips, 1)
        whole = data.expand(clips, frames, height, width, 3).contiguous()
        views[name] = View(whole, index, torch.ones_like(index, dtype=torch.bool))
    zeros = torch.zeros(clips, dtype=torch.int64)
    return ClipBatch(views, zeros, zeros, zeros, zeros.bool())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_caption_says_label_answer_and_whether_they_agree(dtype: torch.dtype) -> None:
    logits = torch.tensor([[9.0, 0, 0, 0], [0, 9.0, 0, 0]], dtype=dtype)
    assert captions_of(Answered(logits, torch.tensor([0, 2])), NAMES, "softmax") == [
        Caption("right", "label: archery, answer: archery (1.00)"),
        Caption("wrong", r"label: line\nbreak, answer: bowling (1.00)"),
    ]


def test_all_of_several_labels_are_named_with_as_many_answers() -> None:
    sets = torch.tensor([[1, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0], [1, 0, 0, 1]], dtype=torch.bool)
    logits = torch.tensor([[3.0, 2, -3, -3], [0, 0, -1, 1], [1, 0, 0, 0], [3, 2, -3, -3]])
    found = captions_of(Answered(logits, sets), NAMES, "sigmoid")
    assert found == [
        Caption("right", "labels: archery, bowling, answers: archery (0.95), bowling (0.88)"),
        Caption("right", "label: diving, answer: diving (0.73)"),
        Caption("", "labels: none, answer: archery (0.73)"),
        Caption("1 of 2 right", "labels: archery, diving, answers: archery (0.95), bowling (0.88)"),
    ]


def test_mixed_clips_say_so_and_are_neither_right_nor_wrong() -> None:
    targets = torch.tensor([[0.25, 0.75, 0, 0], [0, 0, 1.0, 0]])
    found = captions_of(Answered(torch.tensor([[9.0, 0, 0, 0], [0, 0, 9.0, 0]]), targets), NAMES, "softmax")
    assert found[0] == Caption("", "mixed: bowling 0.75, archery 0.25, answer: archery (1.00)")
    assert found[1].mark == "right"  # of a pair that was not mixed


def test_the_picture_has_both_views_side_by_side_and_marks_in_two_colors() -> None:
    batch = views_of(teacher=(5, 8, 128, 160), student=(5, 8, 64, 80))
    captions = [Caption("right", "label: a, answer: a (0.9)"), Caption("wrong", "label: a, answer: b (0.9)")]
    picture = picture_of(batch, captions)
    assert picture is not None and picture.dtype == np.uint8
    assert picture.shape[1] == 2 * 4 * 160 + 12
    assert picture.shape[0] == 23 + 2 * (19 + 6 + 128 + 12)
    frames = picture[23 + 25 + 64, 80 : 4 * 160 : 160, 0]
    assert frames.tolist() == [0, 20, 50, 70]  # frames 0, 2, 5, 7 of 8
    assert (picture[23 + 25 + 64, 4 * 160 + 12 + 80 :: 160, 0] == frames).all()
    for row, color in ((0, BLUE), (1, ORANGE)):
        top = 23 + row * 165
        assert tuple(picture[top + 10, 5]) == color


def test_small_views_are_enlarged_and_odd_shapes_fit() -> None:
    long = Caption("wrong", "label: " + "a" * 200 + " b, answer: c (0.50)")
    for shapes in ({"student": (1, 1, 7, 5)}, {"student": (2, 3, 300, 20), "teacher": (2, 1, 20, 300)}):
        picture = picture_of(views_of(**shapes), [long])  # type: ignore[arg-type]
        assert picture is not None and picture.shape[0] > 96


def test_views_of_features_have_no_picture() -> None:
    data, index = torch.zeros(2, 3, 4, dtype=torch.uint8), torch.zeros(2, 3, dtype=torch.int64)
    batch = dataclasses.replace(
        views_of(student=(2, 1, 4, 4)), views={"student": FeatureView(data, index, index.bool())}
    )
    assert picture_of(batch, [Caption("right", "label: a")]) is None


@pytest.mark.parametrize("mixed", [False, True])
def test_a_run_shows_clips_at_the_end_of_each_epoch(mixed: bool, tmp_path: Path) -> None:
    settings = {"mixing": MixingConfig(mixup_alpha=0.8)} if mixed else {}
    trainer = make_trainer(tmp_path, **settings)
    trainer.fit()
    events = EventAccumulator(str(tmp_path), size_guidance={"images": 0}).Reload()
    steps = [one.step for one in events.Images("clips/labels_and_answers")]
    assert steps == [step for step in range(1, 13) if trainer.milestones.shows_clips(step)] and len(steps) == 4


def test_other_steps_keep_no_answers(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path)
    batches = iter(trainer.make_loader(0))
    kept = []
    for _ in range(trainer.plan.total_steps):
        trainer.train_step(batches)
        kept.append(trainer.answered is not None)
    assert kept == [trainer.milestones.shows_clips(step) for step in range(1, trainer.plan.total_steps + 1)]
    assert trainer.answered is not None and len(trainer.answered.logits_NK) == 4
    assert not trainer.answered.logits_NK.requires_grad
