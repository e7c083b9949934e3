"""Measure a training: the bare networks, the loop on made-up batches, and the loop on real files, in turn.

    reskd profile train configs/demo/student.yaml
    reskd profile train configs/ucf10/student_r18-96_r18-48.yaml data.loader.num_workers=4 --csv rates.csv
    reskd profile train CONFIG --synthetic                      without data
    reskd profile train CONFIG --precisions fp16 bf16 --clips-per-pass 16 32 64 --compile off all

Weights are random and nothing is saved. The table has clips/s, the share of the time spent waiting for data, the share
of the machine's measured peak, and the milliseconds of each phase of a step. On real files the loop should be as fast
as on made-up batches; what is missing is waiting for data (see docs/monitoring.md).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from reskd.choices import PrecisionChoice
from reskd.cli import add_overrides, command_parser, positive

if TYPE_CHECKING:
    from reskd.experiment.config import ExperimentConfig
    from reskd.runtime.config import RuntimeConfig


def main(arguments: Sequence[str]) -> None:
    chosen = build_parser().parse_intermixed_args(arguments)
    from reskd.experiment.stages import choose_stage, load_stages, teacher_stage
    from reskd.profiling.measurement_rows import append_rows

    configs = load_stages(chosen.config, chosen.overrides)
    config = choose_stage(configs, chosen.stage)
    stage = teacher_stage(config, configs)
    for precision in chosen.precisions or [config.training.precision]:
        for clips_per_pass in chosen.clips_per_pass or [config.training.max_clips_per_pass]:
            changed = {"precision": precision, "max_clips_per_pass": clips_per_pass}
            training = config.training.model_copy(update=changed)
            for runtime in _runtimes(config.runtime, chosen):
                rows = _measure(config.model_copy(update={"training": training, "runtime": runtime}), stage, chosen)
                if chosen.csv:
                    append_rows(chosen.csv, rows)
    if chosen.csv:
        print(f"written to {chosen.csv}")


def _runtimes(given: RuntimeConfig, chosen: argparse.Namespace) -> list[RuntimeConfig]:
    """The config's, or one for each of --compile; with --cuda-graphs another one for each that is compiled."""
    if not chosen.compile:
        return [given]
    graphs = [False, True] if chosen.cuda_graphs else [False]
    return [
        type(given).model_validate({**given.model_dump(), "compile": which, "cuda_graphs": with_graphs})
        for which in chosen.compile
        for with_graphs in graphs
        if which != "off" or not with_graphs
    ]


def _measure(
    config: ExperimentConfig, stage: ExperimentConfig | None, chosen: argparse.Namespace
) -> list[dict[str, object]]:
    from reskd.distributed import joined_world
    from reskd.step_profiling.rates import measure_rates
    from reskd.step_profiling.report import describe_rates, measure_peak_flops, rows_of
    from reskd.step_profiling.setup import speed_run

    with joined_world(config.device) as world, tempfile.TemporaryDirectory() as folder:
        run = speed_run(config, stage, world=world, folder=Path(folder), with_data=not chosen.synthetic)
        try:
            batches = iter(run.loader) if run.loader is not None else None
            rates = measure_rates(
                run.trainer, batches, steps=chosen.steps, rounds=chosen.rounds, used_up=chosen.used_up,
                on_round=lambda number: print(f"round {number} of {chosen.rounds}", file=sys.stderr, flush=True),
            )  # fmt: skip
        finally:
            if run.loader is not None:
                run.loader.close()
        rows = rows_of(config.name, run, rates, measure_peak_flops(run.trainer.precision), runtime=config.runtime)
        if world.is_main:
            print(
                f"{config.name}, {run.trainer.precision.choice}, {run.trainer.plan.clips_per_pass} clips a pass, "
                f"compiled: {rows[0]['compile']}"
            )
            print(describe_rates(rates, rows))
    return rows


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser("profile train", __doc__)
    parser.add_argument("config", help="YAML file of the experiment")
    add_overrides(parser)
    parser.add_argument("--stage", metavar="NAME", help="which stage, if the config has several")
    parser.add_argument("--steps", type=positive, default=10, help="steps of a round (default %(default)s)")
    parser.add_argument("--rounds", type=positive, default=5, help="times that each loop runs (default %(default)s)")
    parser.add_argument(
        "--used-up", type=positive, default=8, metavar="STEPS", help="steps on real files before they are timed, which "
        "use up what was prefetched (default %(default)s)",
    )  # fmt: skip
    parser.add_argument("--synthetic", action="store_true", help="no real files")
    precisions = get_args(PrecisionChoice)
    parser.add_argument("--precisions", nargs="+", choices=precisions, default=[], help="one measurement for each")
    parser.add_argument(
        "--clips-per-pass", nargs="+", type=positive, default=[], metavar="N", help="one measurement for each"
    )
    parser.add_argument(
        "--compile", nargs="+", choices=("off", "teacher", "all"), default=[], help="one measurement for each"
    )
    parser.add_argument(
        "--cuda-graphs", action="store_true", help="what is compiled is measured as CUDA graphs too (on a GPU)"
    )
    parser.add_argument("--csv", type=Path, help="file to append the rows to")
    return parser
