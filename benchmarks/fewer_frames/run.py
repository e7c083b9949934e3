"""The fewer-frames study: a teacher of all frames, and baselines and distilled students that see k of them.

    python -m benchmarks.fewer_frames.run run --synthetic runs/synthetic --ucf10 runs/ucf10_features
    python -m benchmarks.fewer_frames.run run ... --part 1/2        # one of two processes
    python -m benchmarks.fewer_frames.run run --synthetic runs/other --synthetic-seed 0 \\
        --weights 0 1 --csv runs/trial.csv
    python -m benchmarks.fewer_frames.run time --synthetic runs/synthetic --ucf10 runs/ucf10_features
    python -m benchmarks.fewer_frames.run pixels                    # frames x resolution, with and without a teacher
    python -m benchmarks.fewer_frames.run pixels --times docs/results/study_fewer_pixels_time.csv
    python -m benchmarks.fewer_frames.run report
    python -m benchmarks.fewer_frames.run oracle                    # an ideal classifier on the synthetic videos

The study has 738 runs: 41 for each of two data sets, three families and three seeds. Each run is a config that the
ordinary trainer trains. A run that has a row in docs/results/study_fewer_frames.csv is not run again. `time` measures
the time of the same networks from a record to its scores. `report` makes the tables and pictures from the rows.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from benchmarks.fewer_frames.cases import (
    FAMILIES,
    KS,
    MODES,
    SEEDS,
    SELECTIONS,
    VIDEOS_SEED,
    Case,
    DataSet,
    Family,
    Sweep,
    cases_of,
    part_of,
)
from benchmarks.fewer_frames.pixels import KS as PIXEL_KS
from benchmarks.fewer_frames.pixels import SIDES, pixel_cases
from dali_pipes.jobs.progress import ProgressDisplay
from reskd.cli import part_of_parts, positive, run_tool
from reskd.profiling.measurement_rows import append_rows, describe_run, read_rows

if TYPE_CHECKING:
    from benchmarks.fewer_frames.runner import Planned

RESULTS = Path("docs/results")
ROWS, TIMES = RESULTS / "study_fewer_frames.csv", RESULTS / "study_fewer_frames_time.csv"
PIXELS = RESULTS / "study_fewer_pixels.csv"
log = logging.getLogger(__name__)


def main(arguments: Sequence[str]) -> None:
    chosen = build_parser().parse_args(arguments)
    chosen.run(chosen)


def _run(chosen: argparse.Namespace) -> None:
    import torch

    from benchmarks.fewer_frames.runner import Planned

    torch.set_num_threads(1)
    csv = _csv(chosen, ROWS)
    cases = part_of(_cases(chosen), chosen.part)
    _run_all([Planned(case.columns, case.config(chosen.runs), case.mode == "teacher") for case in cases], csv)


def _run_all(planned: Sequence[Planned], csv: Path) -> None:
    import torch

    from benchmarks.fewer_frames.runner import run_all
    from reskd.distributed import joined_world

    logging.getLogger("reskd").setLevel(logging.WARNING)  # a run logs a dozen lines
    with joined_world("cpu") as world, ProgressDisplay() as display:
        about = describe_run(torch.device("cpu"))
        done = run_all(planned, csv=csv, about=about, world=world, on_progress=display.counter("runs"))
    print(f"{len(planned)} runs, {done} of them now; rows in {csv}")


def _pixels(chosen: argparse.Namespace) -> None:
    import torch

    from benchmarks.fewer_frames.pixels_timing import time_pixels
    from benchmarks.fewer_frames.runner import Planned

    torch.set_num_threads(1)
    cases = pixel_cases(chosen.k, chosen.sides, chosen.seeds, epochs=chosen.epochs)
    if chosen.times:
        rows = time_pixels(cases, chosen.base, chosen.runs, rounds=chosen.rounds)
        append_rows(chosen.times, [{**describe_run(torch.device("cpu")), **row} for row in rows])
        print(f"rows appended to {chosen.times}")
        return
    planned = [Planned(case.columns, case.config(chosen.base, chosen.runs), case.mode == "teacher") for case in cases]
    _run_all(planned, chosen.csv)


def _time(chosen: argparse.Namespace) -> None:
    import torch

    from benchmarks.fewer_frames.timing import time_cases

    torch.set_num_threads(1)
    rows = time_cases(_cases(chosen), rounds=chosen.rounds)
    csv = _csv(chosen, TIMES)
    append_rows(csv, [{**describe_run(torch.device("cpu")), **row} for row in rows])
    print(f"rows appended to {csv}")


def _oracle(chosen: argparse.Namespace) -> None:
    from benchmarks.fewer_frames.oracle import oracle_table
    from dali_pipes.synthetic.features import SyntheticSpec

    print(oracle_table(SyntheticSpec(seed=chosen.seed), num_videos=chosen.videos, ks=chosen.k))


def _csv(chosen: argparse.Namespace, default: Path) -> Path:
    if chosen.csv is None and (chosen.weights or chosen.synthetic_seed != VIDEOS_SEED):
        raise ValueError("--weights and --synthetic-seed: expected --csv with a file for these rows alone, found none.")
    return chosen.csv or (_quick(default) if chosen.quick else default)


def _quick(csv: Path) -> Path:
    """The CSV of quick runs, outside the folder of results: their rows only prove that everything runs."""
    return Path("runs") / f"quick_{csv.name}"


def _report(chosen: argparse.Namespace) -> None:
    if not (chosen.csv.exists() or chosen.pixels.exists()):
        raise ValueError(
            f"expected rows in {chosen.csv} or {chosen.pixels}, found neither; make some with run or pixels, or name "
            "other files with --csv or --pixels."
        )
    if chosen.csv.exists():
        _report_features(chosen)
    if chosen.pixels.exists():
        from benchmarks.fewer_frames.pixels_report import draw_pixels, pixels_markdown

        rows, times = read_rows(chosen.pixels), read_rows(chosen.pixel_times) if chosen.pixel_times.exists() else []
        print(pixels_markdown(rows, times))
        draw_pixels(rows, times, chosen.pixels.with_suffix(".png"))


def _report_features(chosen: argparse.Namespace) -> None:
    from benchmarks.fewer_frames.pictures import draw, macs_of, times_of
    from benchmarks.fewer_frames.report import markdown

    rows = read_rows(chosen.csv)
    print(markdown(rows))
    pictures = {"macs": (macs_of(rows), "million multiply-accumulates a video")}
    if chosen.times.exists():
        pictures["time"] = (times_of(read_rows(chosen.times)), "processor ms a video, end to end")
    for name, (costs, label) in pictures.items():
        path = chosen.csv.with_name(f"{chosen.csv.stem}_{name}.png")
        draw(rows, costs, path, metric="gap", label=label)
        log.info("%s", path)


def _cases(chosen: argparse.Namespace) -> list[Case]:
    from benchmarks.fewer_frames.data import synthetic, ucf10

    data_sets: list[DataSet] = []
    if chosen.synthetic:
        data_sets.append(synthetic(chosen.synthetic, quick=chosen.quick, seed=chosen.synthetic_seed))
    if chosen.ucf10:
        data_sets.append(ucf10(chosen.ucf10, quick=chosen.quick))
    if not data_sets:
        raise ValueError("expected data: --synthetic FOLDER, --ucf10 FOLDER or both, found neither.")
    selections = [name for name in SELECTIONS if name in chosen.selections]
    sweep = Sweep(
        families=chosen.families,
        ks=chosen.k,
        seeds=chosen.seeds,
        selections=selections,
        modes=[mode for mode in MODES if mode in chosen.modes],
        weights=tuple(chosen.weights) if chosen.weights else None,
    )
    return cases_of(data_sets, sweep)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="train and score the runs that have no row yet")
    run.set_defaults(run=_run)
    _add_cases(run)
    run.add_argument("--runs", type=Path, default=Path("runs/fewer_frames"), help="folder of the runs")
    run.add_argument(
        "--part",
        type=part_of_parts,
        default=(1, 1),
        metavar="I/N",
        help="do part I of N of the runs, for N processes side by side",
    )
    run.add_argument("--csv", type=Path, help=f"default: {ROWS}, with --quick {_quick(ROWS)}")
    time = commands.add_parser("time", help="time reading and classifying a video with all frames and with k")
    time.set_defaults(run=_time)
    _add_cases(time)
    time.add_argument("--rounds", type=positive, default=7, help="timed passes per network (default %(default)s)")
    time.add_argument("--csv", type=Path, help=f"default: {TIMES}, with --quick {_quick(TIMES)}")
    _add_pixels(commands.add_parser("pixels", help="the grid of frames and resolutions on the videos of UCF10"))
    report = commands.add_parser("report", help="print the tables, write the pictures beside the rows")
    report.set_defaults(run=_report)
    report.add_argument("--csv", type=Path, default=ROWS)
    report.add_argument("--times", type=Path, default=TIMES)
    report.add_argument("--pixels", type=Path, default=PIXELS)
    report.add_argument("--pixel-times", type=Path, default=PIXELS.with_stem(f"{PIXELS.stem}_time"))
    oracle = commands.add_parser(
        "oracle", help="GAP of an ideal classifier, which knows the prototypes of the synthetic videos"
    )
    oracle.set_defaults(run=_oracle)
    oracle.add_argument("--k", type=positive, nargs="+", default=list(KS))
    oracle.add_argument("--videos", type=positive, default=400, help="videos of the test list (default %(default)s)")
    oracle.add_argument(
        "--seed", type=int, default=0, help="seed of the videos (default %(default)s; the study uses 1)"
    )
    return parser


def _add_cases(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--synthetic", type=Path, metavar="FOLDER", help="folder of the synthetic videos; made if it is not there"
    )
    parser.add_argument(
        "--synthetic-seed", type=int, default=VIDEOS_SEED, help="seed of the synthetic videos (default %(default)s)"
    )
    parser.add_argument(
        "--weights",
        type=float,
        nargs=2,
        metavar=("EMBEDDING", "PREDICTION"),
        help="weights of the two loss terms, instead of the study's",
    )
    parser.add_argument("--ucf10", type=Path, metavar="FOLDER", help="folder that extract-features wrote")
    parser.add_argument("--families", nargs="+", choices=get_args(Family), default=list(FAMILIES))
    parser.add_argument(
        "--k", type=positive, nargs="+", default=list(KS), help="numbers of frames that the students see"
    )
    parser.add_argument("--seeds", type=positive, nargs="+", default=list(SEEDS))
    parser.add_argument("--selections", nargs="+", choices=SELECTIONS, default=list(SELECTIONS), help="baselines")
    parser.add_argument(
        "--modes", nargs="+", choices=MODES, default=list(MODES), help="which runs besides the teachers"
    )
    parser.add_argument("--quick", action="store_true", help="a few steps on a few videos, to see that everything runs")


def _add_pixels(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_pixels)
    parser.add_argument(
        "--base",
        type=Path,
        default=Path("configs/ucf10/teacher_r18-96.yaml"),
        help="config whose lists and recipe are used",
    )
    parser.add_argument(
        "--k", type=positive, nargs="+", default=list(PIXEL_KS), help="numbers of frames that the students see"
    )
    parser.add_argument(
        "--sides", type=positive, nargs="+", default=list(SIDES), help="sides of the students' views, in pixels"
    )
    parser.add_argument("--seeds", type=positive, nargs="+", default=[1])
    parser.add_argument("--epochs", type=float, default=10.0, help="epochs of every run (default %(default)g)")
    parser.add_argument("--runs", type=Path, default=Path("runs/fewer_pixels"), help="folder of the runs")
    parser.add_argument("--csv", type=Path, default=PIXELS)
    parser.add_argument(
        "--times",
        type=Path,
        metavar="CSV",
        help="train nothing; time each case from file to scores and append rows here",
    )
    parser.add_argument("--rounds", type=positive, default=5, help="timed rounds of --times (default %(default)s)")


if __name__ == "__main__":
    sys.exit(run_tool(main))
