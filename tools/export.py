"""The student alone, for other programs: python tools/export.py CHECKPOINT --out FOLDER [--format onnx ...]

    python tools/export.py runs/demo_student/last.pt --out exported
    python tools/export.py runs/demo_student/last.pt --out exported --format safetensors --clips my_video.mp4

Writes student.onnx, student.pt2 (torch.export), student.safetensors and config.json: uint8 frames (N, T, H, W, 3), or
uint8 features (N, T, D) and bool valid (N, T) in; logits (N, K) out, any N; see docs/deploy.md. Each file is read again
and compared with the student on random and, of frames, on real clips; one whose logits differ by more than 1e-4 is
deleted, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor

from dali_pipes.annotations.lists import VIDEO_SUFFIXES
from dali_pipes.sampling.spec import ONE_VIEW
from reskd.cli import run_tool
from reskd.inference.answers import Answer
from reskd.inference.export import (
    CHECKED_BATCH_SIZES,
    MAX_DIFFERENCE,
    Format,
    Inputs,
    Refusal,
    asks_which_are_valid,
    check_packages,
    export_student,
)
from reskd.inference.student import TrainedStudent, describe_student, load_trained_student
from reskd.inference.videos import VideoSettings, answer_videos

log = logging.getLogger(__name__)

_NUM_CLIPS = max(CHECKED_BATCH_SIZES)
_MOST_FILES = 3  # of the checkpoint's data
_CPU = torch.device("cpu")


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="last.pt or best.pt of a run")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where to write; made if need be")
    parser.add_argument("--format", nargs="+", choices=get_args(Format), default=get_args(Format), help="default: all")
    parser.add_argument(
        "--clips",
        nargs="+",
        metavar="VIDEO",
        help="videos to compare on; default: some of the checkpoint's data, or a made clip where those are not here",
    )
    chosen = parser.parse_args(arguments)
    formats = list(dict.fromkeys(chosen.format))
    for name in formats:
        check_packages(name)
    student = load_trained_student(chosen.checkpoint, _CPU)
    torch.manual_seed(0)
    sees_features = len(student.shape) == 2
    if sees_features and chosen.clips:
        raise ValueError("--clips: expected none, as this student sees features and no videos; leave --clips out.")
    clips = _random_features(student.shape) if sees_features else _frames(student, chosen.clips)
    log.info("comparing on %s clips, %s at once", " and ".join(clips), " and ".join(map(str, CHECKED_BATCH_SIZES)))
    refused = []
    for found in export_student(
        student.model,
        student.shape,
        chosen.out,
        formats=formats,
        about=describe_student(student),
        clips=clips,
    ):
        if isinstance(found, Refusal):
            refused.append(found.reason)
            continue
        size_mib = found.path.stat().st_size / 2**20
        print(f"{found.path}  {size_mib:.1f} MiB  logits within {found.difference:.1e} of the student's", flush=True)
    if refused:
        raise ValueError("\n".join(refused))
    print(f"done: {chosen.out}, all within {MAX_DIFFERENCE:g}")


def _random_features(shape: tuple[int, ...]) -> dict[str, Inputs]:
    """Videos of every length, none included."""
    num_frames, feature_dim = shape
    features_NTD = torch.randint(0, 256, (_NUM_CLIPS, num_frames, feature_dim), dtype=torch.uint8)
    lengths_N1 = torch.randint(0, num_frames + 1, (_NUM_CLIPS, 1))
    return {"random": (features_NTD, torch.arange(num_frames) < lengths_N1)}


def _frames(student: TrainedStudent, given: Sequence[str] | None) -> dict[str, Inputs]:
    random_NTHWC = torch.randint(0, 256, (_NUM_CLIPS, *student.shape, 3), dtype=torch.uint8)
    clips = {"random": random_NTHWC, **_real_clips(student, given)}
    if not asks_which_are_valid(student.model.config):
        return {name: (frames_NTHWC,) for name, frames_NTHWC in clips.items()}
    valid_NT = torch.rand(_NUM_CLIPS, student.shape[0]) < 0.5
    valid_NT[:, 0] = True
    return {name: (frames, valid_NT[torch.arange(len(frames)) % _NUM_CLIPS]) for name, frames in clips.items()}


def _real_clips(student: TrainedStudent, given: Sequence[str] | None) -> dict[str, Tensor]:
    """name -> frames_NTHWC: what the student sees of the given videos, of its own data, or of a made clip."""
    files = list(given or _own_videos(student))
    answers = answer_videos(student, files, VideoSettings(ONE_VIEW, scan="index_only")) if files else ()
    seen = [answer.frames_THWC for answer in answers if isinstance(answer, Answer)]
    if seen:
        return {"real": torch.stack(seen)}
    if given:
        raise ValueError(f"--clips: expected videos, found none that can be read in {', '.join(given)}.")
    log.info("none of the checkpoint's videos is here: a made clip takes their place")
    return {"made": _made_clip(student.shape)[None]}


def _own_videos(student: TrainedStudent) -> Iterator[str]:
    """Some videos of the data that the student was trained on, if they are files and here."""
    data = student.config.clips
    if data.storage.kind != "videos" or not data.root.is_dir():
        return iter(())
    videos = (str(path) for path in data.root.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file())
    return itertools.islice(videos, _MOST_FILES)


def _made_clip(shape: tuple[int, ...]) -> Tensor:
    """uint8 frames_THWC: a ramp of each colour, moving with time."""
    num_frames, height, width = shape
    time_T11 = torch.arange(num_frames).view(-1, 1, 1) / num_frames
    y_1H1 = torch.arange(height).view(1, -1, 1) / height
    x_11W = torch.arange(width).view(1, 1, -1) / width
    ramps = (y_1H1 + time_T11 + 0 * x_11W, x_11W + time_T11 + 0 * y_1H1, x_11W + y_1H1 + time_T11)
    return (torch.stack(ramps, dim=-1) % 1 * 255).to(torch.uint8)


if __name__ == "__main__":
    sys.exit(run_tool(main))
