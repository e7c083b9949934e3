from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest
import torch

from dali_pipes.batch import PADDING_POSITION
from dali_pipes.config import DataConfig
from dali_pipes.sampling.order import epoch_order
from dali_pipes.sampling.spec import TestViews
from tests.dali_pipes.loaders import grouped
from tests.dali_pipes.synthetic_loader import SyntheticLoader, synthetic_manifest

CONFIG = DataConfig(
    root=".",
    train="folders",
    sampling={"num_frames": 4},
    views={"teacher": {"size": (32, 24)}, "student": {"size": (16, 12), "num_frames": 2}},
)


def _loader(**changes: Any) -> SyntheticLoader:
    settings = {"views": ("teacher", "student"), "mode": "train", "batch_size": 4}
    manifest = synthetic_manifest(12, 3, labels_per_clip=changes.pop("labels_per_clip", 1))
    return SyntheticLoader(manifest, CONFIG, **grouped({**settings, **changes}))


def test_batches_have_the_form_of_real_ones() -> None:
    batch = next(iter(_loader()))
    teacher, student = batch.views["teacher"], batch.views["student"]
    assert teacher.data_NTHWC.shape == (4, 4, 32, 24, 3) and student.data_NTHWC.shape == (4, 2, 16, 12, 3)
    assert torch.equal(student.frame_index_NT, teacher.frame_index_NT[:, [0, 2]])
    assert teacher.frames_BCHW.is_contiguous(memory_format=torch.channels_last)
    assert batch.ids_N.tolist() == epoch_order(0, 0, 12)[:4].tolist()
    assert batch.labels_N.tolist() == [row % 3 for row in batch.ids_N.tolist()]


def test_both_views_show_the_same_scene() -> None:
    batch = next(iter(_loader()))
    teacher = batch.views["teacher"].data_NTHWC[:, [0, 2]].float()
    student = batch.views["student"].data_NTHWC.float()
    shrunk = teacher.unflatten(2, (16, 2)).unflatten(4, (12, 2)).mean((3, 5))
    assert (shrunk - student).abs().mean() < 2


def test_pixels_are_a_pure_function_of_the_position() -> None:
    batches = list(itertools.islice(_loader(), 4))
    third = next(iter(_loader(first_batch=2)))
    assert torch.equal(third.views["teacher"].data_NTHWC, batches[2].views["teacher"].data_NTHWC)


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_a_global_step_holds_the_same_clips_for_any_world_size(world_size: int) -> None:
    loaders = [
        _loader(batch_size=1, global_batch_size=6, rank=rank, world_size=world_size) for rank in range(world_size)
    ]
    num_batches = 6 // world_size
    positions = [p for ldr in loaders for b in itertools.islice(ldr, num_batches) for p in b.positions_N.tolist()]
    assert positions == list(range(6))


def test_evaluation_is_one_pass_with_padding() -> None:
    loader = _loader(mode="eval", batch_size=5, views=("student",))
    for _ in range(2):
        batches = list(loader)
        assert len(batches) == loader.num_batches == 3
        assert torch.cat([b.positions_N for b in batches]).tolist() == [*range(12), *[PADDING_POSITION] * 3]


def test_evaluation_shows_all_views_of_a_video_and_training_one() -> None:
    loader = _loader(mode="eval", batch_size=5, views=("student",), test_views=TestViews(2, 3))
    batches = list(loader)
    assert (loader.num_samples, loader.num_test_views, loader.num_batches, len(batches)) == (12, 6, 15, 15)
    assert torch.cat([b.positions_N for b in batches]).tolist() == [*range(72), *[PADDING_POSITION] * 3]
    assert torch.cat([b.ids_N for b in batches])[:72].tolist() == [row for row in range(12) for _ in range(6)]
    pixels = torch.cat([b.views["student"].data_NTHWC for b in batches])[:6]
    assert len({clip.numpy().tobytes() for clip in pixels}) == 6
    assert _loader(test_views=TestViews(2, 3)).num_test_views == 1


def test_a_linear_classifier_learns_the_classes() -> None:
    batches = list(itertools.islice(_loader(batch_size=12), 8))
    pixels = torch.cat([b.views["student"].data_NTHWC.float().mean((1, 2, 3)) / 255 for b in batches])
    labels = torch.cat([b.labels_N for b in batches])
    inputs = torch.cat([pixels, torch.ones(len(pixels), 1)], 1)
    weights = torch.linalg.lstsq(inputs, torch.nn.functional.one_hot(labels, 3).float()).solution
    assert ((inputs @ weights).argmax(1) == labels).float().mean() > 0.8


def test_no_clip_is_refused() -> None:
    with pytest.raises(ValueError, match="num_clips: expected at least 1, found 0"):
        synthetic_manifest(0, 3)
    with pytest.raises(ValueError, match="num_classes: expected at least 1, found 0"):
        synthetic_manifest(3, 0)


def test_several_labels_a_clip_come_as_sets_and_go_where_the_batch_goes() -> None:
    batch = next(iter(_loader(labels_per_clip=2))).to("cpu")
    assert batch.label_sets_NK is not None and batch.targets is batch.label_sets_NK
    expected = [{row % 3, (row + 1) % 3} for row in batch.ids_N.tolist()]
    assert [set(labels.nonzero().flatten().tolist()) for labels in batch.label_sets_NK] == expected
    assert batch.to("meta").label_sets_NK.device.type == "meta"
    alone = next(iter(_loader()))
    assert alone.label_sets_NK is None and alone.targets is alone.labels_N


def test_more_labels_than_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="labels_per_clip: expected 1 to 3, the number of classes, found 4"):
        _loader(labels_per_clip=4)


def test_label_sets_of_another_number_of_clips_are_refused() -> None:
    batch = next(iter(_loader()))
    with pytest.raises(ValueError, match="'label_sets_NK': 3"):
        dataclasses.replace(batch, label_sets_NK=torch.zeros(3, 3, dtype=torch.bool))
    with pytest.raises(TypeError, match=r"label_sets_NK: expected torch.bool, found torch.int64"):
        dataclasses.replace(batch, label_sets_NK=torch.zeros(4, 3, dtype=torch.int64))
