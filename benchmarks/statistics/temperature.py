"""Two arms of a study with calibrated scores: the logits of each run divided by a temperature that other videos chose.

    reskd study studies/ucf10_main.yaml --import docs/results/ucf10_main/results.zip --report-only
    python -m benchmarks.statistics.temperature studies/ucf10_main.yaml student baseline

A network may classify better and still have a higher log loss, as it is too certain. One temperature for a run (Guo et
al., On Calibration of Modern Neural Networks, ICML 2017) changes no answer and takes that away. It is the one with the
lowest log loss in the run's other splits of the same seed, so no video has a say in its own scores. For studies that
pool splits, of softmax scores, without axes of rows.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reskd.cli import run_tool

if TYPE_CHECKING:
    from reskd.statistics.predictions import Predictions
    from reskd.study.plan import StudyPlan


def build_parser() -> argparse.ArgumentParser:
    """The parser; its help is this module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="YAML file of the study, whose runs are done")
    parser.add_argument("arm")
    parser.add_argument("over", help="the arm that it is compared with")
    return parser


def main(arguments: Sequence[str]) -> None:
    """Print each metric of both arms and their difference."""
    chosen = build_parser().parse_args(arguments)
    from reskd.statistics.comparison import compare_arms
    from reskd.statistics.metrics import summarize_arm
    from reskd.statistics.predictions import join_predictions
    from reskd.statistics.shown import shown_difference, shown_interval, shown_value
    from reskd.study.config import load_study
    from reskd.study.plan import plan_study

    plan = plan_study(load_study(chosen.study))
    arms = [
        {seed: join_predictions(calibrated(splits)) for seed, splits in splits_of(plan, arm).items()}
        for arm in (chosen.arm, chosen.over)
    ]
    means = [summarize_arm(arm).metrics for arm in arms]
    print(f"| metric | {chosen.arm} | {chosen.over} | difference | interval | verdict |\n|---|---|---|---|---|---|")
    for one in compare_arms(arms[0], arms[1]).differences:
        values = [shown_value(one.metric, of_arm[one.metric.name].mean) for of_arm in means]
        shown = shown_difference(one.metric, one.value), shown_interval(one.metric, one.low, one.high)
        print("|", " | ".join((one.metric.title, *values, *shown, one.verdict)), "|")


def splits_of(plan: StudyPlan, arm: str) -> dict[int, list[Predictions]]:
    """Seed -> the answers on each split's test list.

    Raises:
        FileNotFoundError: a run is not scored yet.
        ValueError: no pooled splits, other axes beside seeds and splits, or scores that are no softmax.
    """
    from reskd.study.scores import read_scores
    from reskd.study.summary import seeds_of
    from reskd.study.work import scores_path

    study = plan.study
    if study.pool is None or study.repeat is None or len(study.axes) != 2:
        raise ValueError(f"{study.name}: expected a study with repeat, pool and no other axis.")
    runs = {values: plan.runs[run] for (name, values), run in plan.cells.items() if name == arm}
    if not runs:
        raise ValueError(f"{study.name}: expected an arm of the study, found {arm}.")
    found: dict[int, list[Predictions]] = {}
    for values, run in runs.items():
        path = scores_path(run)
        if not path.is_file():
            raise FileNotFoundError(
                f"expected the scores of {run.name} at {path}, found none; run the study, or take over its archive."
            )
        answers = read_scores(path, run, study.group_pattern).as_predictions(run)
        if answers.is_of_label_sets:
            raise ValueError(f"{study.name}: expected softmax scores of one label a video, found others.")
        seed = seeds_of(study)[dict(zip(study.axes, values, strict=True))[study.repeat]]
        found.setdefault(seed, []).append(answers)
    return found


def calibrated(splits: Sequence[Predictions]) -> list[Predictions]:
    """Each split's logits over the temperature that has the lowest log loss on the others."""
    from dataclasses import replace

    import torch
    from torch.nn.functional import one_hot

    from reskd.evaluation.temperature import fit_temperature
    from reskd.statistics.predictions import join_predictions

    found = []
    for split in splits:
        others = join_predictions([other for other in splits if other is not split])
        right_NK = one_hot(torch.from_numpy(others.labels_N), others.num_classes).bool()
        temperature = fit_temperature(torch.from_numpy(others.logits_NK), right_NK, "softmax")
        found.append(replace(split, logits_NK=split.logits_NK / (temperature.value if temperature else 1.0)))
    return found


if __name__ == "__main__":
    sys.exit(run_tool(main))
