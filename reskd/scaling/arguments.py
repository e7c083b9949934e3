"""Command-line arguments of ``reskd analyze scaling``. Nothing heavy is imported at the top: --help is quick."""

from __future__ import annotations

import argparse
from pathlib import Path

from reskd.cli import number_from, positive


def add_scaling_arguments(parser: argparse.ArgumentParser) -> None:
    """Also sets what runs: ``run``, called with the parsed arguments."""
    parser.add_argument("rates", type=Path, metavar="RATES.yaml", help="measured rates of one process, and the cluster")
    parser.add_argument(
        "--processes", type=positive, nargs="+", default=[1, 8, 64, 256, 1024], metavar="N",
        help="numbers of processes, one for each GPU (default: 1 8 64 256 1024)",
    )  # fmt: skip
    parser.add_argument(
        "--clips-per-step", type=positive, metavar="B", help="training.global_batch_size; default: each process has as "
        "many as in the first measured step, so the batch grows with the processes",
    )  # fmt: skip
    parser.add_argument(
        "--clips", type=number_from(1, 1e15), metavar="C", help="clips of a whole run, such as 1e9, for its days"
    )
    parser.add_argument(
        "--steps", type=_steps, default=40, help="simulated steps; 0: formulas alone (default %(default)s)"
    )
    parser.set_defaults(run=_print_scaling)


def _print_scaling(chosen: argparse.Namespace) -> None:
    from reskd.scaling.config import read_rates
    from reskd.scaling.table import describe_scaling

    rates = read_rates(chosen.rates)
    print(rates.about)
    table = describe_scaling(rates, chosen.processes, chosen.clips_per_step, clips=chosen.clips, steps=chosen.steps)
    print(table)


def _steps(text: str) -> int:
    return 0 if text == "0" else positive(text)
