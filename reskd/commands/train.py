"""Train an experiment.

    reskd train configs/demo/student.yaml
    reskd train configs/ucf10/student_r18-96_r18-48.yaml training.epochs=5 optimizer.lr=0.01
    torchrun --nproc-per-node 2 -m reskd.train configs/demo/student.yaml

key.sub=value changes a setting of the config. All files of a run are in runs/NAME; read report.md there first. The same
command resumes a run that was stopped. --set changes a setting of a run that has started.

A config with several stages, such as a teacher and its student, trains them one after the other, each in
runs/NAME.STAGE. Stages that are done are not trained again. stages.STAGE.key=value changes one stage.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from dali_pipes.jobs.progress import ProgressDisplay
from reskd.cli import add_overrides, command_parser
from reskd.faults import fault_files_in

if TYPE_CHECKING:
    from reskd.experiment.config import ExperimentConfig


def main(arguments: Sequence[str]) -> None:
    chosen = build_parser().parse_intermixed_args(arguments)
    from reskd.environment import require_for_training
    from reskd.experiment.stages import asked_settings, check_data_paths, load_stages, train_stages
    from reskd.stop_signals import StopSignals

    with ExitStack() as stack:
        signals = stack.enter_context(StopSignals().listening())
        # Before torch is imported, which takes seconds.
        configs = load_stages(chosen.config, chosen.overrides)
        require_for_training()
        check_data_paths(configs)
        asked = asked_settings(chosen.config, chosen.overrides, chosen.set)
        from reskd.distributed import joined_world
        from reskd.rank_map import log_ranks
        from reskd.training.metrics_log import describe_rate, describe_step

        world = stack.enter_context(joined_world(configs[0].device, signals=signals))
        log_ranks(world)
        display = stack.enter_context(ProgressDisplay(sys.stdout, enabled=world.is_main))

        def show(name: str, step: int, total_steps: int, values: Mapping[str, float]) -> None:
            display.step(name, step, total_steps, describe_step(values), rate=describe_rate(values))

        with fault_files_in([config.folder for config in reversed(configs)]):
            runs = train_stages(
                configs, world=world, resume=chosen.resume, overwrite=chosen.overwrite, on_log=show, asked=asked
            )
    if world.is_main:
        print("\n".join(f"done: {run.path / 'report.md'}" for run in runs))
        print(f"to score it and write report.html: {evaluation_of(configs[-1], chosen, is_stage=len(runs) > 1)}")


def evaluation_of(config: ExperimentConfig, chosen: argparse.Namespace, *, is_stage: bool) -> str:
    """The command that evaluates a run of this training, on its test list if it has one."""
    from reskd.reports.experiment.collect import evaluation_command

    stage = config.name.rpartition(".")[2] if is_stage else None
    has_test = config.data.test is not None or config.data.seed_decides("test")
    checkpoint, split = config.folder / "last.pt", "test" if has_test else "val"
    return evaluation_command(chosen.config, checkpoint, stage=stage, split=split, overrides=chosen.overrides)


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser("train", __doc__)
    parser.add_argument("config", help="YAML file of the experiment")
    add_overrides(parser)
    parser.add_argument(
        "--resume",
        default="auto",
        metavar="auto|last|PATH|none",
        help="auto (default): resume from last.pt if there is one; last: expect one; PATH: resume from this "
        "checkpoint; none: refuse an earlier run of this name",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="key.sub=value",
        help="change this setting of a run that has started, as optimizer.lr=0.01 after a divergence; the run records "
        "it, and later starts need no --set. For settings that change neither clips nor networks; can be repeated",
    )
    parser.add_argument("--overwrite", action="store_true", help="delete an earlier run of this name first")
    return parser
