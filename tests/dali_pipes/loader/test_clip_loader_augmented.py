"""Augmented batches: a clip's pixels depend on nothing but seed, position and attempt, whoever decodes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dali_pipes.augmentation.augmenter import make_augmenter
from dali_pipes.batch import ClipBatch
from dali_pipes.config import DataConfig
from dali_pipes.loader import clip_loader as loader_module
from dali_pipes.loader import decoder_choice
from dali_pipes.loader.memory import decoding_bytes
from tests.dali_pipes.loader.test_clip_loader import BOTH, make_config, make_manifest, take
from tests.dali_pipes.loaders import clip_loader

pytest.importorskip("nvidia.dali")

RECIPES = {
    "rand_augment": {"num_ops": 2, "magnitude": 7.0, "magnitude_std": 0.5, "probability": 0.5},
    "color_jitter": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1, "probability": 0.8},
    "random_erasing": {"probability": 0.25},
}
DECODERS = ["prefer_dali", "pyav", "none of DALI"]


@pytest.fixture(scope="module")
def folder(make_folder: Callable[..., Path]) -> Path:
    return make_folder({"h264": ["libx264"] * 2, "mjpeg": ["mjpeg"] * 2, "vp9": ["libvpx-vp9"] * 2}, num_frames=24)


def config_of(folder: Path, decoder: str = "pyav", augmentation: Any = None, **options: Any) -> DataConfig:
    config = make_config(folder, decoder="pyav" if decoder == "none of DALI" else decoder, **options)
    return DataConfig.model_validate(
        config.model_dump() | {"augmentation": RECIPES if augmentation is None else augmentation}
    )


@pytest.fixture
def with_decoder(decoder: str, monkeypatch: pytest.MonkeyPatch) -> str:
    if decoder == "none of DALI":
        for module in (decoder_choice, loader_module):
            monkeypatch.setattr(module, "has_dali", lambda: False)
    return decoder


def batches(config: DataConfig, count: int, **options: Any) -> list[ClipBatch]:
    settings = {"views": ("teacher", "student"), "mode": "train", "batch_size": 3, **options}
    return take(clip_loader(make_manifest(config), config, **settings), count)


def assert_same(one: ClipBatch, other: ClipBatch) -> None:
    assert torch.equal(one.positions_N, other.positions_N) and torch.equal(one.ids_N, other.ids_N)
    assert set(one.views) == set(other.views)
    for name, view in one.views.items():
        assert torch.equal(view.data, other.views[name].data)


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_resumed_loader_goes_on_with_the_same_pixels(with_decoder: str, folder: Path) -> None:
    config = config_of(folder, with_decoder)
    unbroken = batches(config, 4)
    for first in (1, 3):
        assert_same(batches(config, 1, first_batch=first)[0], unbroken[first])
    plain = batches(config_of(folder, with_decoder, augmentation={}), 4)
    changed = [
        (one.views[name].data[clip] != other.views[name].data[clip]).any()
        for one, other in zip(unbroken, plain, strict=True)
        for name in BOTH
        for clip in range(3)
    ]
    assert sum(changed) > 0.8 * len(changed)


@pytest.mark.parametrize("decoder", DECODERS[:2])
def test_two_ranks_share_the_clips_of_one(with_decoder: str, folder: Path) -> None:
    config = config_of(folder, with_decoder)
    one = batches(config, 4)
    for rank in range(2):
        shared = batches(config, 2, rank=rank, world_size=2, global_batch_size=6)
        for step in range(2):
            assert_same(shared[step], one[2 * step + rank])


def test_the_batch_is_what_the_augmenter_makes_of_the_plain_one(folder: Path) -> None:
    """So the same pixels give the same result whoever decoded them, and frames, crop and flip stay as they were."""
    config = config_of(folder)
    augmenter = make_augmenter(config, seed=4)
    assert augmenter is not None
    (found,) = batches(config, 1, seed=4, batch_size=6)
    (plain,) = batches(config_of(folder, augmentation={}), 1, seed=4, batch_size=6)
    views = {name: view.data for name, view in plain.views.items()}
    expected = augmenter(views, positions=plain.positions_N.tolist(), attempts=[0] * 6)
    for name in BOTH:
        assert torch.equal(found.views[name].frame_index_NT, plain.views[name].frame_index_NT)
        assert torch.equal(found.views[name].data, expected[name])


def test_a_substitute_has_draws_of_its_own(folder: Path, tmp_path: Path) -> None:
    """A pure function of (seed, position, attempt): the clip of attempt 1 is augmented as such."""
    copied = Path(shutil.copytree(folder, tmp_path / "copied"))
    config = config_of(copied, augmentation={"random_erasing": {"probability": 1.0, "fill": 0}}, max_bad_fraction=0.9)
    manifest = make_manifest(config)
    (copied / manifest.path(0)).unlink()
    options = {"views": ("student",), "mode": "train", "batch_size": 6}
    (found,) = take(clip_loader(manifest, config, **options), 1)
    plain = DataConfig.model_validate(config.model_dump() | {"augmentation": {}})
    (bare,) = take(clip_loader(manifest, plain, **options), 1)
    augmenter = make_augmenter(config, seed=0)
    assert augmenter is not None and found.substituted_N.sum() == 1
    views = {"student": bare.views["student"].data}
    attempts = found.substituted_N.int().tolist()
    expected = augmenter(views, positions=found.positions_N.tolist(), attempts=attempts)
    assert torch.equal(found.views["student"].data, expected["student"])
    other = augmenter(views, positions=found.positions_N.tolist(), attempts=[0] * 6)["student"]
    differs = (found.views["student"].data != other).flatten(1).any(1)
    assert torch.equal(differs, found.substituted_N)


def test_an_evaluation_is_never_augmented(folder: Path) -> None:
    for plain, found in zip(
        batches(config_of(folder, augmentation={}), 2, mode="eval"),
        batches(config_of(folder), 2, mode="eval"),
        strict=True,
    ):
        assert_same(found, plain)


def test_a_student_alone_gets_the_pixels_that_it_gets_beside_its_teacher(folder: Path) -> None:
    student = {"size": (24, 40), "num_frames": 2, "selection": "random", "upsample_to_teacher": True}
    config = config_of(folder, views={"teacher": {"size": (48, 80)}, "student": student})
    (beside,) = batches(config, 1, batch_size=6)
    (alone,) = batches(config, 1, batch_size=6, views=("student",))
    assert torch.equal(alone.views["student"].data, beside.views["student"].data)
    assert tuple(alone.views["student"].data.shape) == (6, 2, 48, 80, 3)


def test_a_gpu_keeps_room_for_it(folder: Path) -> None:
    config, plain = config_of(folder), config_of(folder, augmentation={})
    manifest = make_manifest(config)
    needed = [decoding_bytes(manifest, one, views=("teacher", "student"), num_clips=8) for one in (config, plain)]
    assert needed[0] > needed[1]
