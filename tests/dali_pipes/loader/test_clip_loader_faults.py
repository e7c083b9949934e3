"""What the loader does when files, workers or DALI fail while it runs."""

from __future__ import annotations

import csv
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dali_pipes.batch import ClipBatch
from dali_pipes.fault_log import FaultCounts, TooManyBadClipsError, sum_counts
from dali_pipes.loader.clip_loader import ClipLoader
from dali_pipes.manifest.manifest import Manifest
from tests.conftest import HEIGHT, WIDTH, numbered_clip, write_clip
from tests.dali_pipes.loader.test_clip_loader import NUM_FRAMES, make_config, make_manifest, take
from tests.dali_pipes.loaders import clip_loader


@pytest.fixture
def folder(make_folder: Callable[..., Path], tmp_path: Path) -> Path:
    """Two H.264, two MJPEG and two VP9 clips, to be damaged."""
    classes = {"h264": ["libx264"] * 2, "mjpeg": ["mjpeg"] * 2, "vp9": ["libvpx-vp9"] * 2}
    shutil.copytree(make_folder(classes, num_frames=NUM_FRAMES), tmp_path / "clips")
    return tmp_path / "clips"


def _assert_same(one: ClipBatch, other: ClipBatch) -> None:
    assert torch.equal(one.ids_N, other.ids_N) and torch.equal(one.positions_N, other.positions_N)
    assert torch.equal(one.views["student"].data_NTHWC, other.views["student"].data_NTHWC)


def _loader(manifest: Manifest, config: Any, **options: Any) -> ClipLoader:
    settings = {"views": ("student",), "mode": "train", "batch_size": 3, **options}
    return clip_loader(manifest, config, **settings)


def _kill_workers() -> None:
    for worker in multiprocessing.active_children():
        os.kill(worker.pid or 0, signal.SIGKILL)


class _DeadlyIterator:
    """Kills the idle workers inside a call of DALI, once."""

    def __init__(self, iterator: Any) -> None:
        self._iterator = iterator

    def __next__(self) -> Any:
        _kill_workers()
        return next(self._iterator)


@pytest.mark.parametrize("when", ["at work", "idle", "idle, in a call"])
def test_after_a_worker_is_killed_the_batches_go_on_as_if_nothing_had_been(folder: Path, when: str) -> None:
    """DALI's condition waits for a sleeper that was killed; see the note of dali_pipes/loader/watchdog.py."""
    config = make_config(folder, hang_seconds=2.0)
    manifest = make_manifest(config)
    undisturbed = take(_loader(manifest, config), 8)
    messages: list[str] = []
    loader = _loader(manifest, config, on_message=messages.append)
    batches = iter(loader)
    seen = [next(batches) for _ in range(3)]
    if when != "at work":
        time.sleep(1)  # by then what is made ahead is made
    if when == "idle, in a call":
        loader._iterator = _DeadlyIterator(loader._iterator)
    else:
        _kill_workers()
    seen += [next(batches) for _ in range(5)]
    loader.close()
    for one, other in zip(undisturbed, seen, strict=True):
        _assert_same(one, other)
    assert len(messages) == 1 and messages[0].startswith("the pipeline restarts at batch ")


def test_a_reader_that_hangs_is_noticed_and_its_file_left_out(folder: Path, tmp_path: Path) -> None:
    """A pipe that nobody writes to blocks whoever opens it."""
    config = make_config(folder, hang_seconds=2.0)
    manifest = make_manifest(config)
    (folder / "mjpeg" / "00.avi").unlink()
    os.mkfifo(folder / "mjpeg" / "00.avi")
    messages: list[str] = []
    quarantine = tmp_path / "quarantine.csv"
    loader = _loader(manifest, config, mode="eval", batch_size=6, quarantine=quarantine, on_message=messages.append)
    (batch,) = list(loader)
    loader.close()
    assert batch.substituted_N.tolist() == [False, False, True, False, False, False]
    assert any("mjpeg/00.avi cannot be used: reading it hung for" in message for message in messages)
    with quarantine.open() as file:
        rows = list(csv.DictReader(file))
    assert {row["file"] for row in rows} == {"mjpeg/00.avi"}
    assert "hung" in rows[0]["reason"] and rows[-1]["position"] == "2"


def test_a_file_that_kills_dali_is_replaced_and_named_at_the_same_batch(tmp_path: Path) -> None:
    """An index-only scan counts packets; that those of the second half hold nothing shows when DALI decodes them."""
    for name in ("good", "damaged"):
        (tmp_path / name).mkdir()
        path = numbered_clip(tmp_path / name / "0.mp4", "libvpx-vp9", 40)
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 4
    size = int.from_bytes(data[start - 8 : start - 4], "big") - 8
    # Bytes that begin like a VP9 picture: a packet of zeros would count as a dropped frame.
    data[start + size // 2 : start + size] = b"\x82" * (size - size // 2)
    path.write_bytes(data)
    config = make_config(tmp_path, decoder="dali").model_copy(update={"scan": "index_only"})
    manifest = make_manifest(config)
    assert manifest.rows["num_frames"].tolist() == [40, 40] and not manifest.rows["decoded"].any()
    messages: list[str] = []
    loader = _loader(manifest, config, mode="eval", batch_size=2, on_message=messages.append)
    (batch,) = list(loader)
    loader.close()
    assert batch.substituted_N.tolist() == [True, False] and batch.positions_N.tolist() == [0, 1]
    assert "restarts at batch 0" in messages[0] and "decoders.video" in messages[0]
    assert messages[-1].startswith("damaged/0.mp4 cannot be used: ")


def test_black_frames_of_a_file_that_was_never_decoded_are_checked_by_pyav(tmp_path: Path) -> None:
    """DALI may put out black frames where a file ends early. These are black in truth, and stay."""
    (tmp_path / "night").mkdir()
    write_clip(tmp_path / "night" / "0.webm", "libvpx-vp9", [np.zeros((HEIGHT, WIDTH, 3), np.uint8)] * 20)
    config = make_config(tmp_path, decoder="dali").model_copy(update={"scan": "index_only"})
    messages: list[str] = []
    loader = _loader(make_manifest(config), config, mode="eval", batch_size=1, on_message=messages.append)
    (batch,) = list(loader)
    loader.close()
    assert len(messages) == 1 and "night/0.webm, which the scan never decoded, gave a black frame" in messages[0]
    assert not batch.substituted_N.any() and not batch.views["student"].data_NTHWC.any()


@pytest.mark.slow
def test_black_frames_restart_the_pipeline_once_a_file_and_not_without_end(tmp_path: Path) -> None:
    (tmp_path / "night").mkdir()
    for number in range(10):
        path = tmp_path / "night" / f"{number}.webm"
        write_clip(path, "libvpx-vp9", [np.full((HEIGHT, WIDTH, 3), number % 2, np.uint8)] * 8)
    config = make_config(tmp_path, decoder="dali", prefetch=1).model_copy(update={"scan": "index_only"})
    messages: list[str] = []
    loader = _loader(make_manifest(config), config, mode="eval", batch_size=1, on_message=messages.append)
    first = len(list(loader))
    num_messages = len(messages)
    second = len(list(loader))
    loader.close()
    assert first == second == 10
    assert 0 < num_messages <= 8 and len(messages) == num_messages
    assert num_messages < 8 or messages[-1].endswith("PyAV decodes all files that the scan never decoded")


@pytest.mark.parametrize("first_batch", [0, 3])
def test_faults_are_flagged_counted_and_listed_the_same_way_after_a_resume(
    first_batch: int, folder: Path, tmp_path: Path
) -> None:
    config = make_config(folder)
    manifest = make_manifest(config)
    data = bytearray((folder / "h264" / "01.mp4").read_bytes())
    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)  # same size: only the checksums tell
    (folder / "h264" / "01.mp4").write_bytes(data)
    (folder / "vp9" / "00.webm").unlink()
    whole = take(_loader(manifest, config), 6)
    quarantine = tmp_path / "quarantine.csv"
    loader = _loader(manifest, config, first_batch=first_batch, quarantine=quarantine)
    resumed = take(loader, 6 - first_batch)
    for one, other in zip(whole[first_batch:], resumed, strict=True):
        _assert_same(one, other)
    flagged = [
        int(position)
        for batch in resumed
        for position, is_substitute in zip(batch.positions_N.tolist(), batch.substituted_N.tolist(), strict=True)
        if is_substitute
    ]
    with quarantine.open() as file:
        rows = list(csv.DictReader(file))
    assert flagged and sorted({int(row["position"]) for row in rows}) == flagged
    assert {row["file"] for row in rows} <= {"h264/01.mp4", "vp9/00.webm"}
    assert loader.faults.num_substituted == len(flagged)


def test_an_evaluation_counts_and_lists_its_last_pass_alone(folder: Path, tmp_path: Path) -> None:
    config = make_config(folder)
    manifest = make_manifest(config)
    (folder / "vp9" / "00.webm").unlink()
    quarantine, messages = tmp_path / "quarantine.csv", list[str]()
    loader = _loader(manifest, config, mode="eval", batch_size=6, quarantine=quarantine, on_message=messages.append)
    listed = []
    for _ in range(2):
        list(loader)
        listed.append(quarantine.read_text())
    loader.close()
    assert listed[0] == listed[1] and listed[0].count("\n") == 2 and len(messages) == 1
    assert (loader.faults.num_served, loader.faults.num_substituted) == (6, 1)


def test_more_bad_clips_than_allowed_end_the_run_with_the_list(folder: Path) -> None:
    config = make_config(folder, max_bad_fraction=0.0)
    manifest = make_manifest(config)
    (folder / "vp9" / "00.webm").unlink()
    with pytest.raises(
        TooManyBadClipsError, match=r"max_bad_fraction=0 allows(.|\n)*vp9/00.webm \(1 times\): .*No such file"
    ):
        take(_loader(manifest, config, mode="eval", batch_size=6), 1)


def test_a_batch_that_fails_again_and_again_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = make_config(folder)
    loader = _loader(make_manifest(config), config, mode="eval")

    def fail() -> None:
        raise RuntimeError("no more memory")

    monkeypatch.setattr(loader, "_start", fail)
    with pytest.raises(
        RuntimeError, match=r"reading batch 0 failed (.|\n)*no more memory\npositions \[0, 1, 2\], files"
    ):
        next(iter(loader))


def test_steps_hold_the_same_clips_and_substitutes_with_two_processes_then_one_then_two(
    folder: Path, tmp_path: Path
) -> None:
    """Four clips a step, two a batch: steps 0-1 by two ranks, 2-3 by one, 4-5 by two, against one rank all the way."""
    config = make_config(folder)
    manifest = make_manifest(config)
    (folder / "h264" / "00.mp4").write_bytes(b"gone")
    (folder / "vp9" / "01.webm").unlink()

    def clips(name: str, world_size: int, first_step: int, num_steps: int) -> dict[int, tuple[int, bool, bytes]]:
        passes = 2 // world_size
        seen, counted = {}, []
        for rank in range(world_size):
            loader = _loader(
                manifest, config, batch_size=2, global_batch_size=4, rank=rank, world_size=world_size,
                first_batch=first_step * passes, quarantine=tmp_path / f"{name}{rank}.csv",
            )  # fmt: skip
            loader.faults.restore(counts.get(name, sum_counts(())), rank=rank, world_size=world_size)
            for batch in take(loader, num_steps * passes):
                pixels = batch.views["student"].data_NTHWC
                for clip, position in enumerate(batch.positions_N.tolist()):
                    is_substitute = bool(batch.substituted_N[clip])
                    seen[position] = (int(batch.ids_N[clip]), is_substitute, pixels[clip].numpy().tobytes())
            counted.append(loader.faults.counts())
        counts[name] = sum_counts(counted)
        return seen

    def listed(name: str) -> list[tuple[int, str, str]]:
        lines = [line for path in tmp_path.glob(f"{name}?.csv") for line in csv.DictReader(path.open())]
        return sorted((int(line["position"]), line["attempt"], line["file"]) for line in lines)

    counts: dict[str, FaultCounts] = {}
    uninterrupted = clips("whole", 1, 0, 6)
    assert uninterrupted == clips("parts", 2, 0, 2) | clips("parts", 1, 2, 2) | clips("parts", 2, 4, 2)
    assert counts["parts"] == counts["whole"] and counts["whole"]["num_served"] == 24
    assert listed("parts") == listed("whole") and len(listed("whole")) == sum(counts["whole"]["files"].values())
    assert sorted(uninterrupted) == list(range(24))
    assert 0 < sum(is_substitute for _, is_substitute, _ in uninterrupted.values()) < 24
