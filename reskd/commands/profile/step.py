"""Profile a few training steps with torch's profiler: time by phase, the most costly kernels, and a trace.

    reskd profile step configs/demo/student.yaml --out runs/profile
    nsys profile -t cuda,nvtx,osrt reskd profile step CONFIG --out runs/profile --nvtx     for Nsight Systems

Weights are random and nothing is saved. --out gets trace.json, for chrome://tracing or ui.perfetto.dev, and steps.txt.
Phases (data, teacher, student, loss, backward, optimizer) are ranges of the trace.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from reskd.cli import add_overrides, command_parser, positive


def main(arguments: Sequence[str]) -> None:
    chosen = build_parser().parse_intermixed_args(arguments)
    from reskd.experiment.stages import choose_stage, load_stages, teacher_stage

    configs = load_stages(chosen.config, chosen.overrides)  # before torch is imported, which takes seconds
    from reskd.distributed import joined_world
    from reskd.step_profiling.setup import speed_run
    from reskd.step_profiling.trace import profile_steps

    config = choose_stage(configs, chosen.stage)
    stage = teacher_stage(config, configs)
    chosen.out.mkdir(parents=True, exist_ok=True)
    with joined_world(config.device) as world, tempfile.TemporaryDirectory() as folder:
        run = speed_run(config, stage, world=world, folder=Path(folder), with_data=not chosen.synthetic)
        try:
            text = profile_steps(run, chosen.out, steps=chosen.steps, rows=chosen.rows, nvtx=chosen.nvtx)
        finally:
            if run.loader is not None:
                run.loader.close()
    print(text)
    print(f"written to {chosen.out}")


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser("profile step", __doc__)
    parser.add_argument("config", help="YAML file of the experiment")
    add_overrides(parser)
    parser.add_argument("--stage", metavar="NAME", help="which stage, if the config has several")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder of the trace")
    parser.add_argument("--steps", type=positive, default=5, help="steps to profile (default %(default)s)")
    parser.add_argument("--rows", type=positive, default=20, help="kernels in the table (default %(default)s)")
    parser.add_argument("--synthetic", action="store_true", help="made-up batches in place of real files")
    parser.add_argument("--nvtx", action="store_true", help="only NVTX ranges, for Nsight Systems; no trace")
    return parser
