"""The loader's views on a GPU, against those on the CPU: every decoder at once, both views, hand-over to torch."""

from __future__ import annotations

import itertools
from contextlib import closing
from pathlib import Path

import pytest
import torch

from dali_pipes.batch import ClipBatch
from dali_pipes.config import DataConfig
from dali_pipes.manifest.build import build_manifests
from dali_pipes.manifest.manifest import Manifest
from tests.conftest import ENCODERS, numbered_clip, read_number
from tests.dali_pipes.loaders import clip_loader
from tests.devices import DEVICES

pytest.importorskip("nvidia.dali")

NUM_FRAMES, SIDE = 40, 160  # above the least size of NVDEC, for every codec
NUM_BATCHES = 6


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mixed")
    for codec, copies in {"libx264": 3, "libvpx-vp9": 2, "mjpeg": 1}.items():
        (root / codec).mkdir()
        for number in range(copies):
            path = root / codec / f"{number}{ENCODERS[codec][0]}"
            numbered_clip(path, codec, NUM_FRAMES, height=SIDE, width=SIDE + 20, tint=20 * number)
    return root


def config_of(root: Path) -> DataConfig:
    return DataConfig.model_validate(
        {
            "root": root,
            "train": "folders",
            "val_fraction": 0.0,
            "sampling": {"num_frames": 4, "crop": {"kind": "center"}, "test_crop_ratio": 1.0},
            "views": {"teacher": {"size": (SIDE, SIDE + 20)}, "student": {"size": (SIDE // 2, SIDE // 2 + 10)}},
            "loader": {"num_workers": 1, "num_threads": 2, "prefetch": 2},
        }
    )


def read(manifest: Manifest, config: DataConfig, device: str, messages: list[str]) -> list[ClipBatch]:
    options = {"views": ("teacher", "student"), "mode": "train", "batch_size": 3, "on_message": messages.append}
    with closing(clip_loader(manifest, config, device=device, **options)) as loader:
        return list(itertools.islice(loader, NUM_BATCHES))


@pytest.mark.slow
@pytest.mark.parametrize("device", DEVICES)
def test_views_are_those_of_the_cpu(device: str, videos: Path) -> None:
    config = config_of(videos)
    manifest = build_manifests(config, seed=0, splits=("train",))["train"]
    messages: list[str] = []
    found = read(manifest, config, device, messages)
    expected = read(manifest, config, "cpu", messages)
    assert messages == []
    for batch, exact in zip(found, expected, strict=True):
        assert torch.equal(batch.ids_N.cpu(), exact.ids_N) and torch.equal(batch.positions_N.cpu(), exact.positions_N)
        for name, view in batch.views.items():
            assert view.data.device.type == device
            pixels, exact_pixels = view.data.cpu(), exact.views[name].data
            assert torch.equal(view.frame_index_NT.cpu(), exact.views[name].frame_index_NT)
            seen = [[read_number(frame) for frame in clip.numpy()] for clip in pixels]
            assert seen == [[read_number(frame) for frame in clip.numpy()] for clip in exact_pixels]
            # Decoders double the color planes differently, which shows at the edges of the blocks.
            assert (pixels.float() - exact_pixels.float()).abs().mean() < 4


@pytest.mark.slow
@pytest.mark.parametrize("device", DEVICES)
def test_a_batch_stays_as_it_was_while_later_ones_are_read(device: str, videos: Path) -> None:
    """DALI may fill its buffers again only when the work on the GPU that reads them is done."""
    config = config_of(videos)
    manifest = build_manifests(config, seed=0, splits=("train",))["train"]
    busy = torch.zeros(2048, 2048, device=device)
    options = {"views": ("teacher",), "mode": "train", "batch_size": 3}
    with closing(clip_loader(manifest, config, device=device, **options)) as loader:
        late, held = [], []
        for batch in itertools.islice(loader, NUM_BATCHES):
            if device == "cuda":
                for _ in range(20):
                    busy = busy @ busy  # the copy below is made long after the next batch was asked for
            late.append(batch.views["teacher"].data.clone())
            held.append(batch)
        for copy, batch in zip(late, held, strict=True):
            assert torch.equal(copy, batch.views["teacher"].data)
    again = read(manifest, config, device, [])
    for copy, batch in zip(late, again, strict=True):
        assert torch.equal(copy, batch.views["teacher"].data)
