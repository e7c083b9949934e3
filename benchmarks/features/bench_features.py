"""Time our reader of frame-level records beside the `tfrecord` package (pip install tfrecord).

    python -m benchmarks.features.bench_features --rounds 7

Records of random bytes are written into a temporary folder and stay in the file cache. In each round the candidates
take turns, so that a busy moment of the machine slows all of them:

    reader        our reader: one record after another into the memory of one batch; checksums are verified
    loader        our FeatureLoader, as in training: a teacher of all frames and a student of 30
    tfrecord      the package's sequence_loader; its frames are joined and copied into one batch; no checksums

Speed is given as videos per cpu-second of the whole process, the throughput of one core. Rows are appended to
docs/results/bench_features.csv.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from reskd.cli import positive, run_tool
from reskd.profiling.measurement_rows import aligned, append_rows, describe_run

CSV = Path("docs/results/bench_features.csv")


def main(arguments: Sequence[str]) -> None:
    chosen = build_parser().parse_args(arguments)
    if find_spec("tfrecord") is None:
        raise ValueError("expected the package tfrecord to compare with, found none; pip install tfrecord.")
    import torch

    from benchmarks.features.reader_benchmark import measure

    about = describe_run(torch.device("cpu"))
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(Path(folder), chosen.videos, chosen.frames, chosen.threads, chosen.rounds)
    print(table(rows))
    if not chosen.dry_run:
        append_rows(chosen.csv, [{**about, **row} for row in rows])
        print(f"rows appended to {chosen.csv}")


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=positive, default=7, help="timed turns per candidate (default %(default)s)")
    parser.add_argument("--videos", type=positive, default=512, help="videos per turn (default %(default)s)")
    parser.add_argument("--frames", type=positive, default=300, help="frames per video (default %(default)s)")
    parser.add_argument(
        "--threads", type=positive, default=1, help="reading threads of the loader (default %(default)s)"
    )
    parser.add_argument("--csv", type=Path, default=CSV, help="file that rows are appended to (default %(default)s)")
    parser.add_argument("--dry-run", action="store_true", help="print the results and append no rows")
    return parser


def table(rows: Sequence[dict[str, object]]) -> str:
    head = ("candidate", "videos/cpu-s", "20 %", "80 %", "videos/s", "x tfrecord")
    names = ("candidate", "videos_per_cpu_s", "videos_per_cpu_s_p20", "videos_per_cpu_s_p80", "videos_per_s")
    return aligned([head, *([str(row[name]) for name in (*names, "times_tfrecord")] for row in rows)])


if __name__ == "__main__":
    sys.exit(run_tool(main))
