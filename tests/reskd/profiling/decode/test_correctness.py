"""Wrong frames are found, small differences are not called wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dali_pipes.annotations.lists import LabeledVideo
from dali_pipes.manifest.manifest import Manifest
from dali_pipes.scan.scan import scan
from reskd.profiling.decode.candidates import open_reskd, stock_clips
from reskd.profiling.decode.correctness import Reference
from reskd.profiling.decode.other_decoders import PeerClips, PyAVReader
from reskd.profiling.decode.workload import Workload
from tests.conftest import numbered_clip, picture, write_clip


def saved_manifest(folder: Path, paths: list[Path]) -> Path:
    """A manifest of these files, all of one class."""
    videos = [LabeledVideo(path.name, (0,), path.name) for path in paths]
    video_info = scan([path.name for path in paths], root=paths[0].parent, store=folder / "scan")
    Manifest.from_video_info(paths[0].parent, ["one"], videos, video_info).save(folder / "manifest")
    return folder / "manifest"


@pytest.fixture(scope="module")
def workload(tmp_path_factory: pytest.TempPathFactory) -> Workload:
    folder = tmp_path_factory.mktemp("check")
    clip = numbered_clip(folder / "moving.mp4", "libx264", 40)
    manifest = saved_manifest(folder, [clip])
    return Workload(manifest, 4, batch_size=2, num_workers=1, num_positions=8, sizes=((64, 64), (32, 32)))


def _batch(workload: Workload) -> list[np.ndarray]:
    clips = [PeerClips(workload, PyAVReader)[position] for position in range(2)]
    return [torch.stack(tensors).numpy() for tensors in zip(*clips, strict=True)]


def test_the_right_frames_pass_and_those_of_another_moment_do_not(workload: Workload) -> None:
    reference, batch = Reference(workload, 2), _batch(workload)
    found = reference.check(*batch)
    assert found == (8, 0, 0.0, 0.0, 0)
    late = [np.roll(view, 1, axis=1) for view in batch[:2]]
    found = reference.check(late[0], late[1], batch[2])
    assert found.num_wrong == 8 and found.misreported == 0 and found.worst_difference > 5
    assert reference.check(batch[0], batch[1], batch[2] + 1).misreported == 8


def test_another_decoders_levels_are_not_another_frame(workload: Workload) -> None:
    teacher, student, numbers = _batch(workload)
    brighter = [np.clip(view.astype(np.int16) + 3, 0, 255).astype(np.uint8) for view in (teacher, student)]
    found = Reference(workload, 2).check(brighter[0], brighter[1], numbers)
    assert found.num_wrong == 0 and found.mean_difference == pytest.approx(3, abs=0.2)


def test_nothing_is_called_wrong_in_a_still_scene(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "still.mp4", "libx264", [picture(7)] * 30)
    workload = Workload(saved_manifest(tmp_path, [clip]), 4, 2, 1, 8, sizes=((64, 64), (32, 32)))
    batch = _batch(workload)
    assert Reference(workload, 2).check(*(np.roll(part, 1, axis=1) for part in batch[:2]), batch[2]).num_wrong == 0  # type: ignore[call-arg,misc]


def test_our_loader_is_given_the_same_plans(workload: Workload) -> None:
    batches = open_reskd(workload)
    try:
        first = next(batches)
    finally:
        batches.close()
    planned = stock_clips(workload)[: workload.batch_size]
    assert first.frame_index_NT.tolist() == [clip.frame_index_T.tolist() for clip in planned]
    found = Reference(workload, 2).check(*(tensor.numpy() for tensor in first))  # type: ignore[call-arg]
    assert found.num_wrong == 0 and found.misreported == 0 and found.mean_difference < 1
