"""The loader where DALI is not installed: the same batches to the bit, and the same care for what fails."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from dali_pipes.batch import ClipBatch
from dali_pipes.fault_log import UnreadableDataError
from dali_pipes.loader import clip_loader as loader_module
from dali_pipes.loader import decoder_choice
from dali_pipes.loader.decoder_choice import decoder_rule
from tests.dali_pipes.loader.test_clip_loader import BOTH, make_config, make_manifest, take
from tests.dali_pipes.loaders import clip_loader

CODECS = {"h264": ["libx264"] * 3, "mjpeg": ["mjpeg"] * 2, "vp9": ["libvpx-vp9"] * 2}


@pytest.fixture(scope="module")
def folder(make_folder: Callable[..., Path]) -> Path:
    return make_folder(CODECS, num_frames=24)


@pytest.fixture
def without_dali(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for module in (decoder_choice, loader_module):
        monkeypatch.setattr(module, "has_dali", lambda: False)
    return


def _batches(folder: Path, count: int, *, num_workers: int = 1, **options: Any) -> list[ClipBatch]:
    config = make_config(folder, decoder="auto", num_workers=num_workers)
    settings = {"views": ("teacher", "student"), "mode": "train", "batch_size": 3, **options}
    return take(clip_loader(make_manifest(config), config, **settings), count)


def _assert_same(one: ClipBatch, other: ClipBatch) -> None:
    for name in ("labels_N", "ids_N", "positions_N", "substituted_N"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name
    for name in BOTH:
        assert torch.equal(one.views[name].data_NTHWC, other.views[name].data_NTHWC)
        assert torch.equal(one.views[name].frame_index_NT, other.views[name].frame_index_NT)
        assert torch.equal(one.views[name].valid_NT, other.views[name].valid_NT)


@pytest.mark.parametrize("num_workers", [1, 2])
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_batches_are_those_of_dali_to_the_bit(
    folder: Path, monkeypatch: pytest.MonkeyPatch, mode: str, num_workers: int
) -> None:
    pytest.importorskip("nvidia.dali")
    by_dali = _batches(folder, 5, mode=mode)
    for module in (decoder_choice, loader_module):
        monkeypatch.setattr(module, "has_dali", lambda: False)
    state = torch.get_rng_state()
    without = _batches(folder, 5, mode=mode, num_workers=num_workers)
    assert torch.equal(torch.get_rng_state(), state)
    assert len(without) == len(by_dali) == (5 if mode == "train" else 3)
    for one, other in zip(by_dali, without, strict=True):
        _assert_same(one, other)


@pytest.mark.usefixtures("without_dali")
def test_a_resumed_loader_goes_on_with_the_same_pixels(folder: Path) -> None:
    _assert_same(_batches(folder, 1, first_batch=2)[0], _batches(folder, 3)[2])


@pytest.mark.usefixtures("without_dali")
def test_a_killed_worker_changes_nothing_and_a_closed_loader_leaves_none(folder: Path) -> None:
    undisturbed = _batches(folder, 6)
    config = make_config(folder, decoder="auto", hang_seconds=2.0)
    messages: list[str] = []
    views = {"views": ("teacher", "student"), "mode": "train", "batch_size": 3, "on_message": messages.append}
    loader = clip_loader(make_manifest(config), config, **views)
    batches = iter(loader)
    seen = [next(batches)]
    for worker in multiprocessing.active_children():
        os.kill(worker.pid or 0, signal.SIGKILL)
    seen += [next(batches) for _ in range(5)]
    loader.close()
    for one, other in zip(undisturbed, seen, strict=True):
        _assert_same(one, other)
    assert any("restarts at batch" in message for message in messages)
    end = time.monotonic() + 60
    while multiprocessing.active_children() and time.monotonic() < end:
        time.sleep(0.1)
    assert not multiprocessing.active_children()


@pytest.mark.usefixtures("without_dali")
def test_an_unreadable_file_is_substituted_and_none_readable_is_a_sentence(folder: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(folder, tmp_path / "copied"))
    config = make_config(copied, decoder="auto", max_bad_fraction=0.9)
    manifest = make_manifest(config)
    settings = {"views": ("student",), "mode": "train", "batch_size": 7}
    (copied / manifest.path(0)).unlink()
    (batch,) = take(clip_loader(manifest, config, **settings), 1)
    assert batch.substituted_N.sum() == 1
    for row in range(1, 7):
        (copied / manifest.path(row)).unlink()
    with pytest.raises(UnreadableDataError, match="expected a readable clip, found none among"):
        take(clip_loader(manifest, config, **settings), 1)


@pytest.mark.usefixtures("without_dali")
def test_what_reads_is_told_and_a_forced_dali_is_refused(folder: Path) -> None:
    config = make_config(folder, decoder="auto")
    loader = clip_loader(make_manifest(config), config, views=("student",), mode="train", batch_size=3)
    assert "by torch's DataLoader, as DALI is not installed" in loader.describe_reading()
    rule = decoder_rule(torch.device("cuda"), config)
    assert (rule.device, rule.choice) == ("cpu", "pyav")
    with pytest.raises(ValueError, match=r"decoder=dali: expected DALI, found none; pip install 'reskd\[cuda12\]'"):
        decoder_rule(torch.device("cpu"), make_config(folder, decoder="dali"))
