"""Draws where several runs' networks see evidence for a class, as a sheet and a video. reskd analyze has the command
line.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from dali_pipes.atomic_files import atomic_write_text
from dali_pipes.file_names import on_one_line
from reskd.analysis.attention_pictures import ClipPanels, Panel, draw_sheet, write_video
from reskd.analysis.evidence import ClipMaps, activation, class_evidence
from reskd.analysis.overlays import nearest_map, overlay, scaled
from reskd.analysis.runs import AnalyzedClips, AnalyzedRun, RunsRequest, SeenClip, load_runs, read_clips
from reskd.analysis.tensorboard_pictures import add_picture, check_has_steps

log = logging.getLogger(__name__)

MAX_CLIPS = 50  # image viewers do not open longer sheets


class AttentionRequest(NamedTuple):
    """What to draw, and where it goes.

    Attributes:
        shown: evidence for the true class, for the class that each network predicts, or activations of any class.
        tensorboard: folder of a run whose TensorBoard gets the sheet.
    """

    runs: RunsRequest
    shown: Literal["true", "predicted", "activation"]
    out: Path
    tensorboard: Path | None = None


class _Looked(NamedTuple):
    """What a network says of a clip."""

    maps: ClipMaps
    predicted: int
    probability: float


def draw_attention(request: AttentionRequest) -> str:
    """Write attention.png, .mp4 and .json into ``request.out``. Returns a line for each run.

    Raises:
        ValueError, OSError: as load_runs and read_clips; too many clips for a sheet; the folder cannot be written.
    """
    if request.runs.num_clips > MAX_CLIPS:
        raise ValueError(f"--clips {request.runs.num_clips}: expected at most {MAX_CLIPS} on a sheet; choose fewer.")
    if request.tensorboard:
        check_has_steps(request.tensorboard)
    runs = load_runs(request.runs)
    clips = read_clips(runs, request.runs)
    request.out.mkdir(parents=True, exist_ok=True)
    looked: list[list[_Looked]] = []
    for run, seen in zip(runs, clips.seen, strict=True):
        pairs = zip(seen, clips.labels, strict=True)
        looked.append([_look(run, clip, label, request.shown) for clip, label in pairs])
        log.info("%s: %d clips", run.name, len(seen))
    panels = [_panels(runs, clips, looked, index) for index in range(len(clips.files))]
    titles = ["frame", *(f"{run.name} ({run.student.shape[-1]} px)" for run in runs)]
    sheet = request.out / "attention.png"
    draw_sheet(titles, panels, sheet)
    write_video(titles, panels, sheet.with_suffix(".mp4"))
    result = _result(runs, clips, looked, request)
    atomic_write_text(sheet.with_suffix(".json"), json.dumps(result, indent=2) + "\n")
    if request.tensorboard:
        add_picture(request.tensorboard, "attention", sheet)
    return "\n".join(
        f"{run.name}: {sum(one.predicted == label for one, label in zip(of_run, clips.labels, strict=True))} of "
        f"{len(clips.files)} clips right"
        for run, of_run in zip(runs, looked, strict=True)
    )


def _look(run: AnalyzedRun, clip: SeenClip, label: int, shown: str) -> _Looked:
    if shown == "activation":
        maps = activation(run.model, clip.frames_THWC, clip.valid_T)
    else:
        chosen = label if shown == "true" else None
        maps = class_evidence(run.model, clip.frames_THWC, clip.valid_T, class_number=chosen)
    predicted = int(maps.logits_K.argmax())
    return _Looked(maps, predicted, float(run.student.score(maps.logits_K)[predicted]))


def _panels(
    runs: Sequence[AnalyzedRun], clips: AnalyzedClips, looked: Sequence[Sequence[_Looked]], index: int
) -> ClipPanels:
    """A clip's frames, and each network's overlays on them. The frames are those of the largest view."""
    largest = max(range(len(runs)), key=lambda number: clips.seen[number][index].frames_THWC[0].numel())
    frames_THWC = clips.seen[largest][index].frames_THWC.cpu().numpy()
    numbers = clips.seen[largest][index].frame_index_T.tolist()
    class_names = runs[0].student.class_names
    panels = []
    for of_run, seen in zip(looked, clips.seen, strict=True):
        one, frame_index_T = of_run[index], seen[index].frame_index_T
        maps_Thw = scaled(one.maps.maps_Thw)
        matched = [maps_Thw[nearest_map(number, frame_index_T, len(maps_Thw))] for number in numbers]
        frames = [overlay(frame, map_hw) for frame, map_hw in zip(frames_THWC, matched, strict=True)]
        text = f"{on_one_line(class_names[one.predicted])} {one.probability:.0%}"
        panels.append(Panel(np.stack(frames), text, one.predicted == clips.labels[index]))
    return ClipPanels(frames_THWC, on_one_line(class_names[clips.labels[index]]), panels)


def _result(
    runs: Sequence[AnalyzedRun],
    clips: AnalyzedClips,
    looked: Sequence[Sequence[_Looked]],
    request: AttentionRequest,
) -> dict[str, Any]:
    class_names = runs[0].student.class_names

    def answers(index: int) -> dict[str, Any]:
        found = {}
        for run, of_run in zip(runs, looked, strict=True):
            one = of_run[index]
            found[run.name] = {
                "class": class_names[one.predicted],
                "score": round(one.probability, 5),
                "shown_class": None if request.shown == "activation" else class_names[one.maps.class_number],
                "logit_of_shown_class": _finite(one.maps.logits_K[one.maps.class_number]),
            }
        return found

    return {
        "shown": request.shown,
        "split": request.runs.split,
        "manifest_hash": clips.manifest_hash,
        "networks": [run.describe() for run in runs],
        "clips": [
            {"file": file, "class": class_names[label], "answers": answers(index)}
            for index, (file, label) in enumerate(zip(clips.files, clips.labels, strict=True))
        ],
    }


def _finite(value: torch.Tensor) -> float | None:
    return round(float(value), 5) if value.isfinite() else None
