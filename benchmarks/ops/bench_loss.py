"""Time the interpolate-plus-MSE loss, each backend beside eager PyTorch, torch.compile and a plain copy.

    python -m benchmarks.ops.bench_loss                                   # a few shapes, this machine's best device
    python -m benchmarks.ops.bench_loss --all --dtypes fp32 fp16          # all of the paper's shapes
    python -m benchmarks.ops.bench_loss --frames 128 --sides 4,7 --channels 2048 --layouts channels_last contiguous
    python -m benchmarks.ops.bench_loss --picture docs/results/bench_loss.png

In one run every case times all candidates in turn, again and again, so that a busy moment hits all of them. The floor
is a `copy_` into memory allocated before, of so many bytes that it moves what the loss must move: the student and the
teacher read, for a gradient also the student's written, read and written again (the forward pass saves it, the
backward pass scales it). Rows are appended to docs/results/bench_loss.csv.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.ops.loss_benchmark import CASES, DTYPES, Case, Row, draw_rows, measure_case
from reskd.cli import run_tool
from reskd.profiling.measurement_rows import aligned, append_rows, describe_run, read_rows

CSV = Path("docs/results/bench_loss.csv")


def main(arguments: Sequence[str]) -> None:
    chosen = _parser().parse_args(arguments)
    if chosen.picture:
        draw_rows(read_rows(chosen.csv), chosen.picture)
        print(f"written to {chosen.picture}")
        return
    device = torch.device(chosen.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    about = describe_run(device)
    for case in _cases(chosen):
        for layout in chosen.layouts:
            for dtype in chosen.dtypes:
                found = measure_case(
                    case,
                    device=device,
                    dtype=dtype,
                    layout=layout,
                    rounds=chosen.rounds,
                    with_compile=not chosen.no_compile,
                )
                print(f"\n{case.name}: {case.describe()}, {layout}, {dtype}")
                print(table(found))
                if not chosen.dry_run:
                    append_rows(chosen.csv, [{**about, **row.as_columns()} for row in found])
    if not chosen.dry_run:
        print(f"\nrows appended to {chosen.csv}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="all shapes, not only those of 128 frames")
    parser.add_argument("--frames", type=int, help="images B of one case of your own")
    parser.add_argument("--channels", type=int, default=2048)
    parser.add_argument("--sides", default="4,7", help="h,H of your own case")
    parser.add_argument("--device", choices=("cpu", "cuda"))
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=["fp32"])
    parser.add_argument("--layouts", nargs="+", choices=("channels_last", "contiguous"), default=["channels_last"])
    parser.add_argument("--rounds", type=int, default=15, help="timed calls of each candidate")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--dry-run", action="store_true", help="append nothing")
    parser.add_argument("--csv", type=Path, default=CSV)
    parser.add_argument("--picture", type=Path, help="draw the rows of --csv and measure nothing")
    return parser


def _cases(chosen: argparse.Namespace) -> list[Case]:
    if chosen.frames is None:
        return [case for case in CASES if chosen.all or case.num_images == 128]
    try:
        small, large = (int(side) for side in chosen.sides.split(","))
    except ValueError as error:
        raise ValueError(f"--sides: expected two numbers such as 4,7, found {chosen.sides!r}.") from error
    return [
        Case(f"{chosen.frames} x {chosen.channels}, {small} of {large}", chosen.frames, chosen.channels, small, large)
    ]


def table(rows: Sequence[Row]) -> str:
    head = ("candidate", "phase", "median ms", "20 %", "80 %", "cpu ms", "x eager", "x floor", "extra MiB", "faults %")
    lines: list[tuple[str, ...]] = [head]
    for row in rows:
        numbers = (row.median_ms, row.p20_ms, row.p80_ms, row.cpu_ms, row.times_eager, row.times_floor)
        faults = "" if row.page_fault_share is None else f"{100 * row.page_fault_share:.0f}"
        lines.append(
            (row.candidate, row.phase, *(f"{number:.2f}" for number in numbers), f"{row.peak_extra_mib:.1f}", faults)
        )
    return aligned(lines)


if __name__ == "__main__":
    sys.exit(run_tool(main))
