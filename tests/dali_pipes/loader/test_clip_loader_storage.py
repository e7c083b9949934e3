"""The loader over shards and folders of frames: order, resume, ranks and substitutes as with files."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch

from dali_pipes.batch import PADDING_POSITION, ClipBatch
from dali_pipes.config import DataConfig
from dali_pipes.loader.clip_loader import ClipLoader
from dali_pipes.manifest.build import build_manifests
from dali_pipes.manifest.manifest import Manifest
from dali_pipes.sampling.order import epoch_order
from tests.conftest import ENCODERS, numbered_clip, read_number
from tests.dali_pipes.loaders import clip_loader
from tests.dali_pipes.storage.stored_clips import make_config, write_frames, write_tar

pytest.importorskip("nvidia.dali")

NUM_FRAMES = 24
TEMPLATE = "img_{:05d}.jpg"


def _write_shards(folder: Path) -> None:
    """Two shards of three videos: decoded by PyAV, by DALI, and by DALI."""
    for shard in range(2):
        members = {}
        for codec in ("libx264", "mjpeg", "libvpx-vp9"):
            suffix = ENCODERS[codec][0]
            clip = numbered_clip(folder / f"clip{suffix}", codec, NUM_FRAMES)
            members[f"{codec}{suffix}"] = clip.read_bytes()
            members[f"{codec}.cls"] = str(shard).encode()
            clip.unlink()
        write_tar(folder / f"train-{shard}.tar", members)


def _write_folders(folder: Path) -> None:
    for number in range(6):
        write_frames(folder / "ab"[number // 3] / f"{number}", NUM_FRAMES, first=number % 2)


@pytest.fixture(scope="module")
def make_data(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., DataConfig]:
    roots: dict[str, Path] = {}

    def make(kind: str, **loader: Any) -> DataConfig:
        stored = "frames" if kind == "frames" else "shards"
        if stored not in roots:
            roots[stored] = tmp_path_factory.mktemp(stored)
            (_write_folders if stored == "frames" else _write_shards)(roots[stored])
        root = roots[stored]
        if kind == "frames":
            return make_config(root, storage={"kind": "frames"}, train="folders", **loader)
        storage = {"kind": "shards"}
        if kind == "url":
            pytest.importorskip("fsspec")
            storage, root = {"kind": "shards", "url": f"file://{root}"}, root
        return make_config(root, storage=storage, train="train-{0..1}.tar", **loader)

    return make


def manifest_of(config: DataConfig, **options: Any) -> Manifest:
    return build_manifests(config, seed=0, splits=("train",), **options)["train"]


def take(loader: ClipLoader, num_batches: int) -> list[ClipBatch]:
    with closing(loader):
        return list(itertools.islice(loader, num_batches))


def assert_equal(one: ClipBatch, other: ClipBatch) -> None:
    for name in ("labels_N", "ids_N", "positions_N", "substituted_N"):
        assert torch.equal(getattr(one, name), getattr(other, name))
    for name, view in one.views.items():
        assert torch.equal(view.data_NTHWC, other.views[name].data_NTHWC)


def assert_announced_frames(batches: Sequence[ClipBatch], manifest: Manifest) -> None:
    for batch in batches:
        for clip in range(batch.num_clips):
            for view in batch.views.values():
                seen = [read_number(frame)[0] for frame in view.data_NTHWC[clip].numpy()]
                assert seen == view.frame_index_NT[clip].tolist()
            assert batch.labels_N[clip] == manifest.row(int(batch.ids_N[clip])).label


@pytest.mark.parametrize("kind", ["shards", "url", "frames"])
def test_training_shows_each_clip_once_an_epoch_and_resumes_to_the_same_pixels(
    kind: str, make_data: Callable[..., DataConfig]
) -> None:
    config = make_data(kind)
    manifest = manifest_of(config)
    options: dict[str, Any] = {"views": ("teacher", "student"), "mode": "train", "batch_size": 3}
    batches = take(clip_loader(manifest, config, **options), 4)
    assert_announced_frames(batches, manifest)
    for epoch in range(2):
        ids = torch.cat([batch.ids_N for batch in batches[2 * epoch : 2 * epoch + 2]])
        assert ids.tolist() == epoch_order(0, epoch, 6).tolist()
    assert not any(batch.substituted_N.any() for batch in batches)
    (third,) = take(clip_loader(manifest, config, **options, first_batch=2), 1)
    assert_equal(third, batches[2])


@pytest.mark.parametrize("kind", ["shards", "frames"])
def test_two_ranks_share_each_step_of_one(kind: str, make_data: Callable[..., DataConfig]) -> None:
    config = make_data(kind)
    manifest = manifest_of(config)
    options: dict[str, Any] = {"views": ("student",), "mode": "train", "batch_size": 3, "global_batch_size": 6}
    one = take(clip_loader(manifest, config, **options), 2)
    ranks = [take(clip_loader(manifest, config, **options, rank=rank, world_size=2), 1)[0] for rank in range(2)]
    for rank in range(2):
        assert_equal(one[rank], ranks[rank])


@pytest.mark.parametrize("kind", ["shards", "frames"])
def test_evaluation_counts_each_clip_once(kind: str, make_data: Callable[..., DataConfig]) -> None:
    config = make_data(kind)
    manifest = manifest_of(config)
    batches = take(clip_loader(manifest, config, views=("student",), mode="eval", batch_size=4), 2)
    assert torch.cat([batch.positions_N for batch in batches]).tolist() == [*range(6)] + [PADDING_POSITION] * 2
    assert_announced_frames(batches, manifest)
    assert batches[0].views["student"].frame_index_NT[0].tolist() == [3, 9, 15, 21]


def test_a_damaged_member_is_replaced_and_named(make_data: Callable[..., DataConfig], tmp_path: Path) -> None:
    shutil.copytree(make_data("shards").root, tmp_path, dirs_exist_ok=True)
    config = make_config(tmp_path, storage={"kind": "shards"}, train="train-*.tar", max_bad_fraction=1.0)
    manifest = manifest_of(config)
    video_info = manifest.row(0).video_info
    with (tmp_path / "train-0.tar").open("r+b") as file:
        file.seek(video_info.start)
        file.write(bytes(video_info.file_size))
    loaders = [clip_loader(manifest, config, views=("student",), mode="eval", batch_size=6) for _ in range(2)]
    first, second = (take(loader, 1)[0] for loader in loaders)
    assert_equal(first, second)
    assert first.substituted_N.tolist() == [True] + [False] * 5
    assert list(loaders[0].faults.files) == ["train-0.tar/libx264.mp4"]
    assert_announced_frames([first], manifest)


@pytest.mark.parametrize(
    ("damage", "reason", "decoder"),
    [
        (lambda file: file.unlink(), "img_00003.jpg: No such file or directory", "auto"),
        (lambda file: file.write_bytes(file.read_bytes()[:-200]), "img_00003.jpg: it is truncated", "pyav"),
    ],
    ids=["missing", "cut"],
)
def test_a_damaged_frame_costs_its_clip_and_is_named(
    damage: Callable[[Path], object],
    reason: str,
    decoder: str,
    make_data: Callable[..., DataConfig],
    tmp_path: Path,
) -> None:
    shutil.copytree(make_data("frames").root, tmp_path, dirs_exist_ok=True)
    config = make_config(tmp_path, storage={"kind": "frames"}, train="folders", decoder=decoder, max_bad_fraction=1.0)
    manifest = manifest_of(config)
    damage(tmp_path / "a" / "0" / "img_00003.jpg")  # frame 3, which evaluation shows
    loader = clip_loader(
        manifest, config, views=("student",), mode="eval", batch_size=6, quarantine=tmp_path / "quarantine.csv"
    )
    (batch,) = take(loader, 1)
    assert batch.substituted_N.tolist() == [True] + [False] * 5
    assert_announced_frames([batch], manifest)
    assert f"a/0,{reason}" in (tmp_path / "quarantine.csv").read_text()


def test_frames_by_dali_and_by_pyav_are_alike_also_in_one_graph(make_data: Callable[..., DataConfig]) -> None:
    config = make_data("frames")
    manifest = manifest_of(config)
    options: dict[str, Any] = {"views": ("teacher",), "mode": "train", "batch_size": 3, "seed": 4}
    sampling = {"num_frames": 4, "crop": {"kind": "multi_scale"}}
    auto = make_config(
        config.root, storage={"kind": "frames"}, train="folders", sampling=sampling, decoder="prefer_dali"
    )
    host = make_config(config.root, storage={"kind": "frames"}, train="folders", sampling=sampling, decoder="pyav")
    both = clip_loader(manifest, auto, **options)
    both._recovery.pyav_batches = frozenset({1})  # as after a failure of DALI
    assert both.describe_reading().startswith("decoders: 6 jpeg files DALI cpu; workers: ")
    by_dali, mixed, by_pyav = (
        take(one, 2) for one in (clip_loader(manifest, auto, **options), both, clip_loader(manifest, host, **options))
    )
    assert_equal(mixed[0], by_dali[0])
    assert_equal(mixed[1], by_pyav[1])
    for one, other in zip(by_dali, by_pyav, strict=True):
        difference = (one.views["teacher"].data_NTHWC.int() - other.views["teacher"].data_NTHWC).abs().float()
        assert difference.mean() < 2.5
