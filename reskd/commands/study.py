"""Run a study: the arms of a config over seeds, splits and settings, compared on the same videos.

    reskd study studies/ucf10_teacher.yaml --dry-run
    reskd study studies/ucf10_teacher.yaml --quick
    reskd study studies/ucf10_teacher.yaml --workers 2
    reskd study studies/ucf10_main.yaml --import docs/results/ucf10_main/results.zip --report-only

The arms are the stages of a config; the axes are values of its settings. Each distinct run is made once, in
runs/study_runs; results.jsonl and report.html are in runs/NAME. The same command goes on where it was stopped, runs
again what failed, and leaves what is done. A run that fails or diverges is marked and does not stop the others.
"""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from dali_pipes.jobs.progress import ProgressDisplay
from reskd.cli import add_engine_choice, command_parser


def main(arguments: Sequence[str]) -> int:
    chosen = build_parser().parse_intermixed_args(arguments)
    from reskd.environment import require_for_training
    from reskd.study.config import load_study

    study = load_study(chosen.study, chosen.overrides)  # before torch is imported, which takes seconds
    require_for_training()
    from dali_pipes.jobs.map_files import make_engine
    from reskd.stop_signals import StopSignals
    from reskd.study.archive import read_archive, write_archive
    from reskd.study.page.page import write_study_report
    from reskd.study.plan import plan_study
    from reskd.study.runner import describe_plan, known_rows, run_study, study_folder
    from reskd.study.summary import summarize_study

    plan = plan_study(study.quickened() if chosen.quick else study)
    if chosen.import_from:
        taken = read_archive(plan, chosen.import_from)
        print(f"{chosen.import_from}: results of {taken} runs that had none here")
    if chosen.dry_run:
        print("\n".join(describe_plan(plan, known_rows(plan))))
        return 0
    if chosen.report_only:
        rows = known_rows(plan)
    else:
        engine = make_engine(
            chosen.engine, num_workers=chosen.workers, ray_address=chosen.ray_address, kills=True, uses_gpus=True
        )
        logging.getLogger("reskd.experiment").setLevel(logging.WARNING)
        with StopSignals().listening(), ProgressDisplay(sys.stdout) as display:
            show = display.counter("runs")
            rows = run_study(plan, engine=engine, retry=chosen.retry, on_progress=show, on_running=display.note)
    report = summarize_study(plan, rows, command=shlex.join(["reskd", "study", *arguments]))
    folder = study_folder(plan)
    folder.mkdir(parents=True, exist_ok=True)
    print(f"written to {write_study_report(report, folder)}")
    if chosen.export_to:
        print(f"{chosen.export_to}: results of {write_archive(plan, rows, chosen.export_to)} runs")
    return int(any(row["status"] != "done" for row in rows.values()))


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser("study", __doc__)
    parser.add_argument("study", type=Path, help="YAML file of the study")
    parser.add_argument(
        "overrides", nargs="*", default=[], metavar="key=value", help="settings that replace the study's own"
    )
    parser.add_argument("--quick", action="store_true", help="the small size that the study's file describes")
    parser.add_argument("--dry-run", action="store_true", help="check the study and list its runs; run none")
    parser.add_argument("--report-only", action="store_true", help="write the report of what is done so far")
    parser.add_argument("--retry", action="store_true", help="run again what diverged, too")
    parser.add_argument(
        "--export",
        type=Path,
        dest="export_to",
        metavar="FILE",
        help="write the results of the runs that are done (zip)",
    )
    parser.add_argument(
        "--import", type=Path, dest="import_from", metavar="FILE", help="first take over results that --export wrote"
    )
    add_engine_choice(parser, "runs at once")
    return parser
