"""Time a start with many videos: building the manifests of scanned files, and opening the kept ones.

    python -m benchmarks.start.bench_start                      # 240,000 videos
    python -m benchmarks.start.bench_start --videos 20000 --repeats 3

The files are sparse: each has a number of its own at its start, and sizes are drawn as those of a real set scatter, so
about a third of them equal another in size, and all have 300 frames. The scan's table is written beforehand. Every
repeat is one new process for each of the two, which prints cpu-seconds and seconds. To compare commits, run it by
turns with PYTHONPATH set to one checkout and the other.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from reskd.cli import positive, run_tool

_CLASSES = 400
_FILES_A_FOLDER = 10_000


def build_parser() -> argparse.ArgumentParser:
    """The parser; its help is this module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=positive, default=240_000, help="number of videos")
    parser.add_argument("--repeats", type=positive, default=5, help="number of repeats")
    parser.add_argument("--folder", type=Path, help="keep the files here and use them again")
    parser.add_argument("--one", choices=("build", "open"), help=argparse.SUPPRESS)
    return parser


def main(arguments: Sequence[str]) -> None:
    """Make the files, and time each repeat in a process of its own."""
    chosen = build_parser().parse_args(arguments)
    if chosen.one:
        _time_one(chosen.folder)
        return
    with TemporaryDirectory(prefix="reskd_bench_") as made:
        folder = chosen.folder or Path(made)
        if not (folder / "list.csv").is_file():
            _make_files(folder, chosen.videos)
        seconds: dict[str, list[tuple[float, float]]] = {"build": [], "open": []}
        for _ in range(chosen.repeats):
            shutil.rmtree(folder / "store", ignore_errors=True)
            _write_table(folder)
            for what, taken in seconds.items():
                command = [sys.executable, "-m", __spec__.name, "--one", what, "--folder", str(folder)]
                output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
                cpu, wall = map(float, output.split()[-2:])
                taken.append((cpu, wall))
                print(f"{what}: {cpu:.2f} cpu-s, {wall:.2f} s", flush=True)
        for what, taken in seconds.items():
            cpu, wall = (statistics.median(values) for values in zip(*taken, strict=True))
            print(f"{what}, median of {chosen.repeats}: {cpu:.3f} cpu-s, {wall:.3f} s")


def _make_files(folder: Path, num_videos: int) -> None:
    """Write sparse files, and the list with a class and a group for each."""
    import numpy as np

    sizes = np.random.default_rng(0).lognormal(13, 0.5, num_videos).astype(int)  # a median of 440 kB
    lines = ["path,label,group"]
    for number, size in enumerate(sizes.tolist()):
        part = f"part{number // _FILES_A_FOLDER}"
        if number % _FILES_A_FOLDER == 0:
            (folder / part).mkdir(parents=True, exist_ok=True)
        path = f"{part}/video{number}.mp4"
        with (folder / path).open("wb") as file:
            file.write(number.to_bytes(8, "little"))
            file.truncate(size)
        lines.append(f"{path},class{number % _CLASSES},scene{number % _CLASSES}_{number // _CLASSES // 2}")
    (folder / "list.csv").write_text("\n".join(lines) + "\n")


def _write_table(folder: Path) -> None:
    """Write what a scan would have found of each file."""
    from dali_pipes.scan.store import VideoInfoWriter
    from dali_pipes.video_info import VideoInfo

    with VideoInfoWriter(folder / "store") as writer:
        for number, line in enumerate((folder / "list.csv").read_text().splitlines()[1:], start=1):
            path = line.partition(",")[0]
            status = os.stat(folder / path)  # noqa: PTH116
            picture = (340, 256, 0, "h264", "yuv420p", "bt601", "limited")
            sound = VideoInfo(300, 300, *picture, status.st_size, status.st_mtime_ns, "ok")
            # Commits before the scan hashed samples have no such field.
            info = replace(sound, content=number) if hasattr(sound, "content") else sound
            writer.add(path, info, None)


def _time_one(folder: Path) -> None:
    """Build the manifests, or open them if they are kept, and print the time that it took after the imports."""
    from dali_pipes.config import DataConfig
    from dali_pipes.manifest.build import build_manifests

    config = DataConfig.model_validate(
        {
            "root": str(folder),
            "train": "list.csv",
            "scan_cache": str(folder / "store"),
            "val_fraction": 0.1,
            "views": {"student": {"size": 112, "source": "decoded"}},
        }
    )
    cpu, wall = time.process_time(), time.perf_counter()
    build_manifests(config, seed=0)
    print(f"{time.process_time() - cpu} {time.perf_counter() - wall}")


if __name__ == "__main__":
    sys.exit(run_tool(main))
