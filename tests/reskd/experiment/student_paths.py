"""The two ways to show a student a test frame, ours and as the paper's code and text have them.

    python -m tests.reskd.experiment.student_paths FOLDER_OR_VIDEO... [--videos 40]    # the table of docs/models.md

- "through the teacher's view" (data.views.student.source=teacher_view; the public code): short side 256, center crop
  224, shrunk to 112. The public code shrinks floats, ours are uint8.
- "from the frame" (source=decoded; the paper's text): short side 128, center crop 112.

Ours cut the crop out first and resize it once; MMAction2 resizes the whole frame, whose long side it rounds to a whole
pixel, and cuts then. Shape letters: H W height and width of a frame, C colors.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import av
import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dali_pipes.config import DataConfig
from dali_pipes.loader.cpu_render import render_plan
from dali_pipes.sampling.crops import choose_crop
from dali_pipes.sampling.spec import first_view_size, rules_from_config

_SUFFIXES = {".avi", ".mp4", ".mkv", ".webm", ".mov"}


ROUNDING = "through the teacher's view: uint8 - floats"
TWO_PATHS = "through the teacher's view - from the frame"
CODE = "through the teacher's view - the public code's"
TEXT = "from the frame - the paper's text"
ANTIALIAS = "from the frame: without - with antialias"


class Difference(NamedTuple):
    """Levels of 0..255: mean of |a - b|, root mean square, largest."""

    mean: float
    rms: float
    largest: float


def ours(frame_HWC: np.ndarray, config: DataConfig) -> dict[str, np.ndarray]:
    """The views of one decoded frame in a test, by the code that a loader's worker runs: float32 (h, w, C)."""
    rules = rules_from_config(config.sampling, view_size=first_view_size(config), mode="eval")
    crop = choose_crop(rules, (), *frame_HWC.shape[:2])
    plan = render_plan(config.views, ("teacher", "student"))
    assert plan is not None
    cut = frame_HWC[crop.y : crop.y + crop.height, crop.x : crop.x + crop.width]
    return {
        name: view[0].astype(np.float32) for name, view in plan.render([cut], student_frames=[0], flip=False).items()
    }


def papers_code(frame_HWC: np.ndarray) -> np.ndarray:
    """Short side 256, center crop 224, shrunk as floats: float32 (112, 112, C)."""
    return shrunk(_resized_then_cut(frame_HWC, short_side=256, side=224), 112)


def papers_text(frame_HWC: np.ndarray) -> np.ndarray:
    """Short side 128, center crop 112: float32 (112, 112, C)."""
    return _resized_then_cut(frame_HWC, short_side=128, side=112)


def shrunk(view_HWC: np.ndarray, side: int, *, antialias: bool = False) -> np.ndarray:
    """torch's bilinear resize of floats, as in the public code."""
    image_1CHW: Tensor = torch.from_numpy(view_HWC.astype(np.float32)).permute(2, 0, 1)[None]
    small = F.interpolate(image_1CHW, (side, side), mode="bilinear", align_corners=False, antialias=antialias)
    return np.asarray(small[0].permute(1, 2, 0))


def difference(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> Difference:
    errors = np.concatenate([(one - other).ravel() for one, other in pairs]).astype(np.float64)
    return Difference(float(abs(errors).mean()), float(np.sqrt((errors**2).mean())), float(abs(errors).max()))


def path_config(source: str, *, antialias: bool = False) -> DataConfig:
    """Teacher at 224, student at 112, center crop of 7/8 of the short side."""
    student = {"size": 112, "source": source, "antialias": antialias}
    views = {"teacher": {"size": 224}, "student": student}
    return DataConfig.model_validate(
        {"root": ".", "train": "x.csv", "sampling": {"num_frames": 1, "test_crop_ratio": 0.875}, "views": views}
    )


def compare(frames: Sequence[np.ndarray]) -> dict[str, Difference]:
    """Title -> difference over all frames (uint8 (H, W, C))."""
    pairs: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for frame_HWC in frames:
        for title, *pair in _pairs(frame_HWC):
            pairs.setdefault(title, []).append((pair[0], pair[1]))
    return {title: difference(found) for title, found in pairs.items()}


def _pairs(frame_HWC: np.ndarray) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    views = ours(frame_HWC, path_config("teacher_view"))
    through, decoded = views["student"], ours(frame_HWC, path_config("decoded"))["student"]
    yield ROUNDING, through, shrunk(views["teacher"], 112)
    yield TWO_PATHS, through, decoded
    yield CODE, through, papers_code(frame_HWC)
    yield TEXT, decoded, papers_text(frame_HWC)
    even_HWC = _five_by_four(frame_HWC)
    yield f"{CODE}, cut to 5:4", ours(even_HWC, path_config("teacher_view"))["student"], papers_code(even_HWC)
    yield f"{TEXT}, cut to 5:4", ours(even_HWC, path_config("decoded"))["student"], papers_text(even_HWC)
    crop_HWC = _center_crop(frame_HWC)
    yield ANTIALIAS, shrunk(crop_HWC, 112), shrunk(crop_HWC, 112, antialias=True)


def _five_by_four(frame_HWC: np.ndarray) -> np.ndarray:
    """The middle of a landscape frame; at 5:4 MMAction2's crops lie in the middle too, not up to half a pixel off."""
    height, width = frame_HWC.shape[:2]
    start = (width - height * 5 // 4) // 2
    return frame_HWC[:, start : start + height * 5 // 4]


def _center_crop(frame_HWC: np.ndarray) -> np.ndarray:
    rules = rules_from_config(path_config("decoded").sampling, view_size=(224, 224), mode="eval")
    crop = choose_crop(rules, (), *frame_HWC.shape[:2])
    return frame_HWC[crop.y : crop.y + crop.height, crop.x : crop.x + crop.width]


def _resized_then_cut(frame_HWC: np.ndarray, *, short_side: int, side: int) -> np.ndarray:
    height, width = frame_HWC.shape[:2]
    scale = short_side / min(height, width)
    size = (int(width * scale + 0.5), int(height * scale + 0.5))
    resized = cv2.resize(frame_HWC, size, interpolation=cv2.INTER_LINEAR)
    y, x = ((length - side) // 2 for length in resized.shape[:2])
    return resized[y : y + side, x : x + side].astype(np.float32)


def frames_of(paths: Sequence[Path], *, each: int = 3) -> Iterator[np.ndarray]:
    """The first frames, ten apart, of every video."""
    for path in paths:
        with av.open(str(path)) as container:
            for number, frame in enumerate(container.decode(video=0)):
                if number % 10 == 0:
                    yield frame.to_ndarray(format="rgb24")
                if number >= 10 * (each - 1):
                    break


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("places", nargs="+", type=Path)
    parser.add_argument("--videos", type=int, default=40, help="of each folder, evenly spread over its list")
    chosen = parser.parse_args(arguments)
    paths: list[Path] = []
    for index in chosen.indices:
        found = sorted(p for p in index.rglob("*") if p.suffix in _SUFFIXES) if index.is_dir() else [index]
        paths += found[:: max(1, len(found) // chosen.videos)][: chosen.videos]
    frames = list(frames_of(paths))
    sizes = sorted({f"{frame.shape[1]}x{frame.shape[0]}" for frame in frames})
    print(
        f"{len(frames)} frames of {len(paths)} videos, {', '.join(sizes)}; standard deviation of a view's levels",
        end=" ",
    )
    print(f"{np.mean([ours(frame, path_config('decoded'))['student'].std() for frame in frames]):.1f}")
    for title, found in compare(frames).items():
        print(f"{title}: mean {found.mean:.2f}, rms {found.rms:.2f}, largest {found.largest:.1f} levels")


if __name__ == "__main__":
    main(sys.argv[1:])
