"""GAP of an ideal classifier, which knows the classes' prototypes, on each selection of the synthetic videos' frames.

Shape letters: N videos, T frames, D features of a frame, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import numpy as np
import torch

from benchmarks.fewer_frames.report import as_table
from dali_pipes.choices import FrameSelection
from dali_pipes.features.quantization import dequantize
from dali_pipes.sampling.student_frames import select_frames
from dali_pipes.synthetic.features import SyntheticSpec, make_video, prototypes
from reskd.evaluation.youtube8m import top_lists, video_level_metrics

# Of the soft maximum; from 6 to 15, GAP of all frames is within 0.005 of its best.
_SHARPNESS = 8.0


def oracle_table(spec: SyntheticSpec, *, num_videos: int, ks: Sequence[int]) -> str:
    """Markdown table: GAP@20 on the first test videos, for every selection and k, and for all frames.

    A video's score of a class is the soft maximum log(mean(exp(8 x))) / 8 over the selected frames; x is the inner
    product of the dequantized frame and the class's prototype, which has length 1.
    """
    prototypes_KD = prototypes(spec)
    videos = [make_video(spec, "test", number, prototypes_KD) for number in range(num_videos)]
    label_sets_NK = torch.zeros(num_videos, spec.num_classes, dtype=torch.bool)
    likenesses = []
    for number, video in enumerate(videos):
        label_sets_NK[number, list(video.labels)] = True
        frames_TD = dequantize(np.concatenate([video.groups[name] for name in spec.groups], axis=1))
        likenesses.append(frames_TD * (2 / np.sqrt(spec.feature_dim)) @ prototypes_KD.T)  # as make_video scales them
    lines = [["", *(f"k={k}" for k in ks)]]
    for selection in get_args(FrameSelection):
        cells = [f"{_gap(_chosen(likenesses, selection, k), label_sets_NK):.3f}" for k in ks]
        lines.append([selection.replace("_", "-"), *cells])
    lines.append(["all frames", *[""] * (len(ks) - 1), f"{_gap(likenesses, label_sets_NK):.3f}"])
    return as_table(lines)


def _chosen(likenesses: Sequence[np.ndarray], selection: FrameSelection, k: int) -> list[np.ndarray]:
    return [
        likeness_TK[select_frames(selection, k, len(likeness_TK), key=(0, number))]
        for number, likeness_TK in enumerate(likenesses)
    ]


def _gap(likenesses: Sequence[np.ndarray], label_sets_NK: torch.Tensor) -> float:
    scores_NK = np.stack([np.log(np.exp(_SHARPNESS * likeness_TK).mean(0)) / _SHARPNESS for likeness_TK in likenesses])
    return video_level_metrics(top_lists(torch.from_numpy(scores_NK), label_sets_NK), label_sets_NK.sum(0))["gap"]
