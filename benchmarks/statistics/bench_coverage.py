"""How often a comparison calls equal arms different: made-up answers of two arms whose true difference is nothing.

    python -m benchmarks.statistics.bench_coverage
    python -m benchmarks.statistics.bench_coverage --videos 400 --groups 40 --classes 5 --repetitions 1000

A video's logit of the true class is a sum of what is common to both arms (easy and hard groups and videos), what is
the arm's own, and what is a training's own: of each video, of each group, and of all videos alike (--scatter). Both
arms are made alike, so every verdict but "undecided" is wrong. Printed is the share of such verdicts, which is 5 % for
exact intervals of 95 %, as a Markdown table; first the deviation of top-1 between seeds, by which to know one's own
case.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from reskd.cli import positive, run_tool

if TYPE_CHECKING:
    import numpy as np

    from reskd.statistics.predictions import Predictions

# Standard deviations of the parts of a logit. With 334 videos in 186 groups they give a top-1 of about 84 %, and
# the scatter that docs/results/ucf10.md finds.
_MARGIN, _OF_GROUP, _OF_VIDEO = 5.3, 1.5, 1.5
_ARM_ON_GROUP, _ARM_ON_VIDEO = 0.75, 0.75
_TRAINING_ON_GROUP, _TRAINING_ON_VIDEO = 0.5, 1.0


class FalseVerdicts(NamedTuple):
    """Of equal arms.

    Attributes:
        deviation: of top-1 between the seeds of an arm, in per cent; root mean square over arms.
        shares: name of a metric -> the share of verdicts that are not "undecided".
    """

    deviation: float
    shares: Mapping[str, float]


def build_parser() -> argparse.ArgumentParser:
    """The parser; its help is this module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=positive, default=334, help="test videos")
    parser.add_argument("--groups", type=positive, default=186, help="groups of videos that are alike")
    parser.add_argument("--classes", type=positive, default=10)
    parser.add_argument("--seeds", type=positive, nargs="+", default=[1, 3, 5], help="trainings of an arm")
    parser.add_argument(
        "--scatter",
        type=float,
        nargs="+",
        default=[0, 0.12, 0.25, 0.6],
        help="what a training adds to all logits alike",
    )
    parser.add_argument("--repetitions", type=positive, default=400, help="comparisons of each kind")
    parser.add_argument("--resamples", type=positive, default=500, help="of a comparison")
    return parser


def main(arguments: Sequence[str]) -> None:
    """Print the table."""
    chosen = build_parser().parse_args(arguments)
    if chosen.groups > chosen.videos or chosen.classes > chosen.groups:
        raise ValueError("expected at least as many groups as classes, and as many videos as groups.")
    videos = made_up_videos(chosen.videos, chosen.groups, chosen.classes)
    print("| seeds | deviation of top-1 between seeds | wrong verdicts in top-1, % | mAP, % | log loss, % |")
    print("|---|---|---|---|---|")
    for num_seeds in chosen.seeds:
        for scatter in chosen.scatter:
            found = false_verdicts(
                videos,
                num_seeds=num_seeds,
                scatter=scatter,
                repetitions=chosen.repetitions,
                num_resamples=chosen.resamples,
            )
            shares = " | ".join(f"{100 * found.shares[name]:.1f}" for name in ("top1", "map", "log_loss"))
            print(f"| {num_seeds} | {found.deviation:.1f} | {shares} |", flush=True)


class MadeUpVideos(NamedTuple):
    """N videos in groups; a group is of one class."""

    names: tuple[str, ...]
    groups: tuple[str, ...]
    group_N: np.ndarray
    labels_N: np.ndarray
    num_classes: int


def made_up_videos(num_videos: int, num_groups: int, num_classes: int) -> MadeUpVideos:
    """Each group has a video, and the others fall into groups at random."""
    import numpy as np

    others = np.random.default_rng(0).integers(num_groups, size=num_videos - num_groups)
    group_N = np.sort(np.concatenate([np.arange(num_groups), others]))
    names = tuple(f"{number:05}" for number in range(num_videos))
    return MadeUpVideos(names, tuple(f"g{group}" for group in group_N), group_N, group_N % num_classes, num_classes)


def false_verdicts(
    videos: MadeUpVideos, *, num_seeds: int, scatter: float, repetitions: int, num_resamples: int
) -> FalseVerdicts:
    """Compare ``repetitions`` pairs of equal arms of ``num_seeds`` trainings each; single ones as two models."""
    import numpy as np

    from reskd.statistics.comparison import compare_arms
    from reskd.statistics.pairs import compare_pair
    from reskd.statistics.resamples import BootstrapSettings

    generator = np.random.default_rng(0)
    counts: dict[str, int] = {}
    variances = []
    for _ in range(repetitions):
        a, b = _equal_arms(videos, max(2, num_seeds), scatter, generator)  # a deviation needs two
        settings = BootstrapSettings(num_resamples, seed=int(generator.integers(2**31)))
        found = compare_arms(a, b, settings) if num_seeds > 1 else compare_pair(a[0], b[0], settings)
        for one in found.differences:
            counts[one.metric.name] = counts.get(one.metric.name, 0) + (one.verdict != "undecided")
        for arm in (a, b):
            top1 = [float((run.logits_NK.argmax(1) == run.labels_N).mean()) for run in arm.values()]
            variances.append(np.var(top1, ddof=1))
    deviation = 100 * float(np.sqrt(np.mean(variances)))
    return FalseVerdicts(deviation, {name: count / repetitions for name, count in counts.items()})


def _equal_arms(
    videos: MadeUpVideos, num_seeds: int, scatter: float, generator: np.random.Generator
) -> tuple[dict[int, Predictions], dict[int, Predictions]]:
    import numpy as np

    from reskd.statistics.predictions import Predictions

    num_videos, num_groups = len(videos.names), int(videos.group_N.max()) + 1
    is_true_NK = np.eye(videos.num_classes)[videos.labels_N]

    def of_groups(deviation: float) -> np.ndarray:
        return deviation * generator.normal(size=num_groups)[videos.group_N]

    def of_videos(deviation: float) -> np.ndarray:
        return deviation * generator.normal(size=num_videos)

    def logits(deviation: float, margin_N: np.ndarray) -> np.ndarray:
        noise_NK = deviation * generator.normal(size=(num_videos, videos.num_classes))
        return noise_NK + margin_N[:, None] * is_true_NK

    common_NK = logits(1.0, _MARGIN + of_groups(_OF_GROUP) + of_videos(_OF_VIDEO))
    arms = []
    for _ in range(2):
        arm_NK = common_NK + logits(_ARM_ON_VIDEO, of_groups(_ARM_ON_GROUP))
        arm = {}
        for seed in range(num_seeds):
            of_all = scatter * generator.normal()
            logits_NK = arm_NK + logits(_TRAINING_ON_VIDEO, of_groups(_TRAINING_ON_GROUP) + of_all)
            arm[seed] = Predictions(videos.names, videos.groups, videos.labels_N, logits_NK.astype(np.float32))
        arms.append(arm)
    return arms[0], arms[1]


if __name__ == "__main__":
    sys.exit(run_tool(main))
