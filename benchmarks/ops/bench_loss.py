"""Time the interpolate-plus-MSE loss: each backend, eager PyTorch, torch.compile and a plain copy.

    python -m benchmarks.ops.bench_loss                                   # a few shapes, this machine's best device
    python -m benchmarks.ops.bench_loss --all --dtypes fp32 fp16          # all of the paper's shapes
    python -m benchmarks.ops.bench_loss --frames 128 --sides 4,7 --channels 2048 --layouts channels_last contiguous
    python -m benchmarks.ops.bench_loss --picture docs/results/bench_loss.png

In each round all candidates take turns, so that a busy moment of the machine slows all of them.

The floor is the time of a `copy_` that moves as many bytes as the loss must move. The loss reads the student and the
teacher. With a gradient it also writes the student's gradient in the forward pass, and reads and writes it again in
the backward pass, which scales it.

Rows are appended to docs/results/bench_loss.csv.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from benchmarks.ops.loss_cases import CASES, Case, Layout
from reskd.choices import PrecisionChoice
from reskd.cli import positive, run_tool
from reskd.profiling.measurement_rows import aligned, append_rows, describe_run, read_rows

if TYPE_CHECKING:
    from benchmarks.ops.loss_benchmark import Row

CSV = Path("docs/results/bench_loss.csv")


def main(arguments: Sequence[str]) -> None:
    chosen = build_parser().parse_args(arguments)
    import torch

    from benchmarks.ops.loss_benchmark import draw_rows, measure_case

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


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="time all shapes, not only those with 128 images")
    parser.add_argument("--frames", type=positive, help="time one case of your own, with this number of images B")
    parser.add_argument("--channels", type=positive, default=2048, help="D of your own case (default %(default)s)")
    parser.add_argument(
        "--sides", default="4,7", help="sides h,H of your own case: student, teacher (default %(default)s)"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"))
    parser.add_argument("--dtypes", nargs="+", choices=get_args(PrecisionChoice), default=["fp32"])
    parser.add_argument("--layouts", nargs="+", choices=get_args(Layout), default=["channels_last"])
    parser.add_argument("--rounds", type=positive, default=15, help="timed calls per candidate")
    parser.add_argument("--no-compile", action="store_true", help="do not time torch.compile")
    parser.add_argument("--dry-run", action="store_true", help="print the results and append no rows")
    parser.add_argument("--csv", type=Path, default=CSV)
    parser.add_argument("--picture", type=Path, metavar="PNG", help="draw the rows of --csv; measure nothing")
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
