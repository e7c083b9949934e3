"""Time the classification of a video from its features: a teacher of all frames, and students of k frames.

    python -m benchmarks.inference.bench_inference    # the published sizes: 300 frames, k=30, 4716 classes
    python -m benchmarks.inference.bench_inference --k 30 6 --families h_rnn --batch 1
    python -m benchmarks.inference.bench_inference --device cuda --batch 256

Records of random bytes are written first and stay in the file cache. Then the candidates take turns. Three times are
measured: end to end (read, checksum, parse, select, network), reading alone, and the network alone. Rows are appended
to docs/results/bench_inference.csv.
"""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from reskd.cli import positive, run_tool
from reskd.profiling.measurement_rows import aligned, append_rows, describe_run

if TYPE_CHECKING:
    import torch

    from benchmarks.inference.inference_benchmark import Row
    from dali_pipes.features.config import FeatureDataConfig
    from dali_pipes.features.manifest import FeatureManifest

CSV = Path("docs/results/bench_inference.csv")
GROUPS = {"rgb": 1024, "audio": 128}
# The sizes of arXiv:1902.10640: defaults of the aggregators; H-RNN has 20 blocks of 15, its student 5 of 6.
CLASSIFIERS: dict[str, dict[str, Any]] = {
    "h_rnn": {"kind": "mixture_of_experts"},
    "netvlad": {"kind": "mixture_of_experts", "gate_probabilities": True},
    "nextvlad": {"kind": "logistic"},
}


def main(arguments: Sequence[str]) -> None:
    chosen = build_parser().parse_args(arguments)
    import torch

    from benchmarks.inference.inference_benchmark import write_noise_records
    from dali_pipes.features.manifest import build_feature_manifests

    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    device = torch.device(chosen.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    about = describe_run(device)
    with TemporaryDirectory(prefix="reskd_bench_") as folder:
        root = Path(folder)
        records = root / "bench.tfrecord"
        write_noise_records(records, GROUPS, num_videos=chosen.videos, num_frames=chosen.frames)
        manifest = build_feature_manifests(_data(root, chosen, None), seed=0, splits=("test",))["test"]
        for family in chosen.families:
            rows = _measure(family, root, manifest, chosen, device)
            print(f"\n{family}, {chosen.frames} frames, {chosen.num_classes} classes, {about['device']}")
            print(table(rows), flush=True)
            if not chosen.dry_run:
                columns = {**about, "family": family, "frames": chosen.frames, "classes": chosen.num_classes}
                append_rows(chosen.csv, [{**columns, **row.as_columns()} for row in rows])
            gc.collect()  # a gigabyte of weights
    if not chosen.dry_run:
        print(f"\nrows appended to {chosen.csv}")


def _measure(
    family: str, root: Path, manifest: FeatureManifest, chosen: argparse.Namespace, device: torch.device
) -> list[Row]:
    from benchmarks.inference.inference_benchmark import Candidate, measure_candidates
    from reskd.models.config import parse_recognizer
    from reskd.models.families.registry import build_recognizer

    models: dict[int, Any] = {}
    candidates = []
    for k in (None, *chosen.k):
        # Only H-RNN changes its network for fewer frames.
        length = 15 if k is None else max(1, round(k / 5))
        key = length if family == "h_rnn" else 0
        if key not in models:
            aggregator = {"kind": family} | ({"block_length": length} if family == "h_rnn" else {})
            settings = {"aggregator": aggregator, "classifier": CLASSIFIERS[family]}
            config = parse_recognizer({"family": "features", "groups": GROUPS, **settings})
            models[key] = build_recognizer(config, chosen.num_classes).to(device)
        name = f"all {chosen.frames}" if k is None else f"k={k}"
        candidates.append(Candidate(name, _data(root, chosen, k), models[key]))
    return measure_candidates(candidates, manifest, batch_size=chosen.batch, rounds=chosen.rounds, device=device)


def _data(root: Path, chosen: argparse.Namespace, k: int | None) -> FeatureDataConfig:
    from dali_pipes.features.config import FeatureDataConfig

    return FeatureDataConfig.model_validate(
        {
            "kind": "features",
            "root": root,
            "train": "bench.tfrecord",
            "test": "bench.tfrecord",
            "num_classes": chosen.num_classes,
            "groups": GROUPS,
            "max_frames": chosen.frames,
            "views": {"student": {"num_frames": k}},
        }
    )


def table(rows: Sequence[Row]) -> str:
    """A line per candidate and part."""
    lines = [["part", "candidate", "ms a video", "20 %", "80 %", "cpu ms", "of the first", "of its cpu"]]
    for row in sorted(rows, key=lambda row: row.part):
        times = (f"{value:.3f}" for value in (row.median_ms, row.p20_ms, row.p80_ms, row.cpu_ms))
        lines.append([row.part, row.candidate, *times, f"{row.times_first:.3f}", f"{row.cpu_times_first:.3f}"])
    return aligned(lines)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="+", choices=sorted(CLASSIFIERS), default=list(CLASSIFIERS))
    parser.add_argument(
        "--k", type=positive, nargs="+", default=[30], help="numbers of frames that the students see (default: 30)"
    )
    parser.add_argument("--frames", type=positive, default=300, help="frames per video (default %(default)s)")
    parser.add_argument("--num-classes", type=positive, default=4716, help="default %(default)s")
    parser.add_argument("--videos", type=positive, default=32, help="videos per timed pass (default %(default)s)")
    parser.add_argument("--batch", type=positive, default=16, help="videos per batch (default %(default)s)")
    parser.add_argument("--rounds", type=positive, default=5, help="timed passes per candidate (default %(default)s)")
    parser.add_argument("--threads", type=positive, help="threads of the CPU; default: torch's own choice")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: the GPU if there is one")
    parser.add_argument("--csv", type=Path, default=CSV)
    parser.add_argument("--dry-run", action="store_true", help="print the results and append no rows")
    return parser


if __name__ == "__main__":
    sys.exit(run_tool(main))
