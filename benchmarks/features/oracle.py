"""GAP@20 of an ideal classifier, which knows the classes' prototypes, on each selection of the made-up videos' frames.

    python -m benchmarks.features.oracle --seed 1

A video's score of a class is the soft maximum log(mean(exp(8 x))) / 8 over the selected frames; x is the inner product
of the dequantized frame and the prototype of the class, which has length 1.

Shape letters: N videos, T frames, D features of a frame, K classes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, get_args

from reskd.cli import positive, run_tool
from reskd.profiling.measurement_rows import aligned

if TYPE_CHECKING:
    import numpy as np
    import torch

    from dali_pipes.choices import FrameSelection
    from dali_pipes.synthetic.features import SyntheticSpec

# Of the soft maximum; from 6 to 15, GAP of all frames is within 0.005 of its best.
_SHARPNESS = 8.0


def main(arguments: Sequence[str]) -> None:
    chosen = build_parser().parse_args(arguments)
    from dali_pipes.synthetic.features import SyntheticSpec

    gaps = oracle_gaps(SyntheticSpec(seed=chosen.seed), num_videos=chosen.videos, ks=chosen.k)
    head = ["", *(f"k={k}" for k in chosen.k)]
    rows = [[name, *(f"{gap:.3f}" for gap in gaps_of_ks)] for name, gaps_of_ks in gaps.items()]
    print(aligned([head, *([*row, *[""] * (len(head) - len(row))] for row in rows)]))


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--k", type=positive, nargs="+", default=[6, 10, 15, 20, 30], help="numbers of frames")
    parser.add_argument("--videos", type=positive, default=400, help="videos of the test list (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the videos (default %(default)s)")
    return parser


def oracle_gaps(spec: SyntheticSpec, *, num_videos: int, ks: Sequence[int]) -> dict[str, list[float]]:
    """GAP@20, from 0 to 1, on the first test videos: a selection's at each k, and that of ``all frames`` alone."""
    import numpy as np
    import torch

    from dali_pipes.choices import FrameSelection
    from dali_pipes.features.quantization import dequantize
    from dali_pipes.sampling.student_frames import select_frames
    from dali_pipes.synthetic.features import make_video, prototypes

    prototypes_KD = prototypes(spec)
    videos = [make_video(spec, "test", number, prototypes_KD) for number in range(num_videos)]
    label_sets_NK = torch.zeros(num_videos, spec.num_classes, dtype=torch.bool)
    likenesses = []
    for number, video in enumerate(videos):
        label_sets_NK[number, list(video.labels)] = True
        frames_TD = dequantize(np.concatenate([video.groups[name] for name in spec.groups], axis=1))
        likenesses.append(frames_TD * (2 / np.sqrt(spec.feature_dim)) @ prototypes_KD.T)  # as make_video scales them

    def gap_of(selection: FrameSelection, k: int) -> float:
        chosen = [
            likeness_TK[select_frames(selection, k, len(likeness_TK), key=(0, number))]
            for number, likeness_TK in enumerate(likenesses)
        ]
        return _gap(chosen, label_sets_NK)

    gaps = {selection.replace("_", "-"): [gap_of(selection, k) for k in ks] for selection in get_args(FrameSelection)}
    return {**gaps, "all frames": [_gap(likenesses, label_sets_NK)]}


def _gap(likenesses: Sequence[np.ndarray], label_sets_NK: torch.Tensor) -> float:
    import numpy as np
    import torch

    from reskd.evaluation.youtube8m import top_lists, video_level_metrics

    scores_NK = np.stack([np.log(np.exp(_SHARPNESS * likeness_TK).mean(0)) / _SHARPNESS for likeness_TK in likenesses])
    return video_level_metrics(top_lists(torch.from_numpy(scores_NK), label_sets_NK), label_sets_NK.sum(0))["gap"]


if __name__ == "__main__":
    sys.exit(run_tool(main))
