"""Compare finished runs in one table and one picture.

    reskd report runs/demo runs/demo_teacher runs/demo_baseline runs/demo_student

Writes OUT/report.html, which says whether the student beats the baseline: paired differences, classes, confusions,
the most certain mistakes; and OUT/report.md, a table of each run's evaluation on the test list, with OUT/curves.png.
Run reskd evaluate for each run first. The text compares the last run with each of the others. If a run has several
evaluations, the table has the one with one clip and one crop, unless --views names another. Runs evaluated on
different lists, or with other numbers of test views, are refused.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from dali_pipes.atomic_files import atomic_write_text
from reskd.cli import command_parser
from reskd.faults import sentence_of

log = logging.getLogger(__name__)


def main(arguments: Sequence[str]) -> None:
    chosen = build_parser().parse_args(arguments)
    from reskd.reports.experiment.collect import experiment_of_runs
    from reskd.reports.experiment.page import write_experiment_report
    from reskd.reports.run_report import (
        check_comparable,
        draw_curves,
        read_metrics,
        read_result,
        render_comparison,
        with_own_names,
    )
    from reskd.training.run_directory import RunDirectory

    found, unread = {}, []
    for folder in chosen.runs:
        try:
            found[folder] = read_result(folder, chosen.views), read_metrics(RunDirectory(folder).metrics)
        except (OSError, ValueError) as error:
            unread.append(sentence_of(error) or str(error))
    if not found:
        raise ValueError("\n".join(unread))
    for sentence in unread:
        log.warning("left out: %s", sentence)
    results = with_own_names([result for result, _ in found.values()], list(found))
    check_comparable(results)
    chosen.out.mkdir(parents=True, exist_ok=True)
    curves = {result["name"]: metrics for result, (_, metrics) in zip(results, found.values(), strict=True)}
    draw_curves(curves, chosen.out / "curves.png")
    path, title = chosen.out / "report.md", chosen.title or chosen.out.name
    atomic_write_text(path, render_comparison(title, results))
    print(path.read_text())
    experiment = experiment_of_runs(list(found), title=title, views=chosen.views)
    print(f"written to {path} and {write_experiment_report(experiment, chosen.out / 'report.html')}")


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser("report", __doc__)
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the report; made if it is not there")
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folders of trained and evaluated runs")
    parser.add_argument("--title", help="title of the report; default: OUT's name")
    parser.add_argument(
        "--views", help="which evaluation, by the end of its file name: 10x3 or 10x3_logits; default: 1 clip, 1 crop"
    )
    return parser
