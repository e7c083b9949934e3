"""Runs to compare, and the same clips of their list as each run's network sees them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from dali_pipes.annotations.lists import LabeledVideo
from dali_pipes.fault_log import LoaderLog
from dali_pipes.file_names import on_one_line
from dali_pipes.loader.clip_loader import ClipLoader
from dali_pipes.manifest.manifest import Manifest
from dali_pipes.sampling.order import ReadingOrder
from reskd.distributed import World
from reskd.experiment.data import data_of
from reskd.experiment.lists import build_manifests
from reskd.experiment.networks import view_of
from reskd.inference.student import TrainedStudent, load_trained_student
from reskd.models.recognizer import Recognizer

log = logging.getLogger(__name__)


class RunsRequest(NamedTuple):
    """Which runs, and which videos.

    Attributes:
        folders: of the runs.
        checkpoint: "last" or "best".
        num_clips: one clip of each of so many videos, spread evenly over the list.
        trust_code: as in load_trained_student.
    """

    folders: Sequence[Path]
    checkpoint: Literal["last", "best"]
    split: Literal["test", "val"]
    num_clips: int
    device: torch.device
    trust_code: bool = False


@dataclass(frozen=True)
class AnalyzedRun:
    """A run's student. In the run of a teacher's stage that is the teacher.

    Args:
        name: the folder's name; for runs of equal names, its path.
        model: the student's network; it has a feature map.
    """

    name: str
    folder: Path
    student: TrainedStudent
    model: Recognizer

    def describe(self) -> dict[str, Any]:
        """The run, its checkpoint and its view, as plain values."""
        origin = {**self.student.origin, "run": self.name}  # the folder's name, which others may have changed
        return {**origin, "folder": on_one_line(self.folder), "view": list(self.student.shape)}


class SeenClip(NamedTuple):
    """A clip as a network sees it.

    Attributes:
        frames_THWC: uint8 RGB, on the device.
        valid_T: bool.
        frame_index_T: the number of each frame in its video, on the CPU.
    """

    frames_THWC: Tensor
    valid_T: Tensor
    frame_index_T: Tensor


class AnalyzedClips(NamedTuple):
    """The clips that all runs could read.

    Attributes:
        files: as listed.
        labels: class numbers; the first of a video with several.
        seen: for each run, its clips in the order of ``files``.
    """

    files: list[str]
    labels: list[int]
    seen: list[list[SeenClip]]
    manifest_hash: str


def load_runs(request: RunsRequest) -> list[AnalyzedRun]:
    """Load the networks.

    Raises:
        FileNotFoundError, ValueError: no such run or checkpoint; a family without a feature map; other classes, or
            other pictures of a clip, than the first run's.
    """
    names = [folder.resolve().name for folder in request.folders]
    runs = []
    for folder, name in zip(request.folders, names, strict=True):
        runs.append(_load(folder, str(folder) if names.count(name) > 1 else name, request))
    for other in runs[1:]:
        _check_comparable(runs[0], other)
    return runs


def _load(folder: Path, name: str, request: RunsRequest) -> AnalyzedRun:
    path = folder / f"{request.checkpoint}.pt"
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: expected the folder of a run, found none; check the path.")
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder}: expected the checkpoint {path.name} of a run, found none; train the run, or choose the other "
            "--checkpoint."
        )
    student = load_trained_student(path, request.device, trust_code=request.trust_code)
    if student.model.feature_dim is None:
        raise ValueError(
            f"{path}: expected a network with a feature map, found family {student.config.student.family}, which sees "
            "features and no pixels; leave this run out."
        )
    return AnalyzedRun(on_one_line(name), folder, student, student.model)


def _check_comparable(first: AnalyzedRun, other: AnalyzedRun) -> None:
    if first.student.class_names != other.student.class_names:
        raise ValueError(
            f"{other.folder}: expected the classes of {first.folder} ({_some(first)}), found others ({_some(other)}); "
            "compare runs on the same data."
        )
    mine, others = (data_of(run.student.config).describe_input() for run in (first, other))
    for key in ("crop", "pixel_aspect"):
        if mine[key] != others[key]:
            raise ValueError(
                f"{other.folder}: expected frames cut as in {first.folder} ({key} {mine[key]}), found {others[key]}; "
                "compare runs that see the same part of a frame."
            )


def _some(run: AnalyzedRun) -> str:
    names = run.student.class_names
    return f"{len(names)}: {', '.join(map(on_one_line, names[:3]))}{', ...' if len(names) > 3 else ''}"


def read_clips(runs: Sequence[AnalyzedRun], request: RunsRequest) -> AnalyzedClips:
    """Read the middle clip and center crop of the chosen videos, as each run's network sees them.

    A video that some run cannot read is left out; the log names it.

    Raises:
        ValueError: the runs have different lists, fewer videos than asked for, or none that can be read.
    """
    manifests = [_manifest(run, request) for run in runs]
    first = manifests[0]
    for run, manifest in zip(runs[1:], manifests[1:], strict=True):
        if manifest.content_hash != first.content_hash:
            raise ValueError(
                f"{run.folder}: expected the {request.split} list of {runs[0].folder} with its {len(first)} videos, "
                f"found another list, of {len(manifest)}; compare runs on the same data."
            )
    if request.num_clips > len(first):
        raise ValueError(
            f"--clips {request.num_clips}: expected at most {len(first)}, the videos of the {request.split} list; "
            "choose fewer."
        )
    numbers = [(2 * index + 1) * len(first) // (2 * request.num_clips) for index in range(request.num_clips)]
    seen = [_seen_clips(run, _some_rows(manifest, numbers)) for run, manifest in zip(runs, manifests, strict=True)]
    kept = [index for index in range(len(numbers)) if all(index in of_run for of_run in seen)]
    if not kept:
        raise ValueError(f"expected clips that every run can read, found none of {len(numbers)}; see the log.")
    return AnalyzedClips(
        files=[first.path(numbers[index]) for index in kept],
        labels=[int(first.rows["label"][numbers[index]]) for index in kept],
        seen=[[of_run[index] for index in kept] for of_run in seen],
        manifest_hash=first.content_hash,
    )


def _manifest(run: AnalyzedRun, request: RunsRequest) -> Manifest:
    world = World(0, 1, request.device)
    found = build_manifests(run.student.config, world=world, splits=(request.split,)).get(request.split)
    if found is None:
        raise ValueError(
            f"{run.folder}: expected videos of the split {request.split}, found none, as data.{request.split}_fraction "
            "is 0; choose the other --split."
        )
    assert isinstance(found, Manifest)
    if found.class_names != run.student.class_names:
        raise ValueError(
            f"{run.folder}: expected the classes of its checkpoint ({_some(run)}), found {len(found.class_names)} "
            "others in its lists; restore the lists that it was trained on."
        )
    return found


def _some_rows(manifest: Manifest, numbers: Sequence[int]) -> Manifest:
    """A manifest of these rows alone, so that no other video is decoded."""
    videos = [
        LabeledVideo(manifest.path(number), tuple(map(int, manifest.labels(number))), manifest.path(number))
        for number in numbers
    ]
    video_info = {video.path: manifest.row(n).video_info for video, n in zip(videos, numbers, strict=True)}
    return Manifest.from_video_info(manifest.root, manifest.class_names, videos, video_info, manifest.storage)


def _seen_clips(run: AnalyzedRun, manifest: Manifest) -> dict[int, SeenClip]:
    """Row of the manifest -> its clip; without those that cannot be read."""
    data, view_name = run.student.config.clips, view_of(run.student.config, "student")
    settings = data.loader.model_copy(update={"max_bad_fraction": 1.0})
    loader = ClipLoader(
        manifest,
        data.model_copy(update={"loader": settings}),
        order=ReadingOrder(mode="eval", batch_size=min(4, len(manifest))),
        views=(view_name,),
        device=run.student.device,
        log=LoaderLog(on_message=log.warning),
    )
    found: dict[int, SeenClip] = {}
    try:
        for batch in loader:
            view = batch.views[view_name]
            for index, position in enumerate(batch.positions_N.tolist()):
                if position >= 0 and not batch.substituted_N[index]:
                    # Copies: the loader may use a batch's memory again.
                    frames_THWC, valid_T = view.data[index].clone(), view.valid_NT[index].clone()
                    found[position] = SeenClip(frames_THWC, valid_T, view.frame_index_NT[index].cpu().clone())
    finally:
        loader.close()
    return found
