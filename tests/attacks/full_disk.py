"""Let every write of a run fail, one after the other, as on a full disk; then resume, to the bit. So with a scan.

    python -m tests.attacks.full_disk

The run is started for k = 1, 2, 3, ... until it ends well. In each start, the kernel refuses the k-th file that the
run opens for writing in its folder, and all after it (see limited.py). Such a start must end with one sentence that
names a file, leave no temporary file and a readable last.pt; and the same command then ends as the run never stopped.

A scan is started for several sizes beyond which no file may grow. It must end with one sentence that names the folder
of its tables; the same command then goes on, and finds what a scan that was never stopped finds.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from itertools import count as numbers
from pathlib import Path

from dali_pipes.scan.index_reader import IndexReader
from dali_pipes.scan.store import read_video_info
from dali_pipes.video_info import VideoInfo
from reskd.training.checkpoint import load_checkpoint
from tests.attacks.runs import differences, launch, output_of, report, run_to_end, wait, write_experiment
from tests.conftest import numbered_clip

_SMALLEST = 64  # bytes: the locks between processes are files of 32
# Runs a program of which no file may grow beyond a number of bytes.
_LIMITED = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
sys.argv = sys.argv[2:]
sys.path.insert(0, '.')
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def attack(folder: Path, writes: Iterable[int], *, epochs: int = 3) -> tuple[Counter[str], list[str]]:
    """Returns (number of outcomes by name, a line for each failure); ends at the first start without a failed write."""
    counts, failures = Counter[str](), list[str]()
    config, whole = write_experiment(folder, epochs=epochs), folder / "whole"
    if wait(launch(config, whole)) != 0:
        return counts, [f"the run never stopped failed: {output_of(whole).read_text()[-2000:]}"]
    for number in writes:
        runs = folder / f"full{number}"
        limited = ["-m", "tests.attacks.limited", str(number)]
        done = run_to_end([*limited, "tools/train.py", str(config), f"runs={runs}"])
        if done.returncode == 0 and "TensorBoard's events stop" not in done.stderr:
            break
        counts["tried"] += 1
        failures += [f"write {number}: {fault}" for fault in _faults(done, runs)]
        counts["refused in a sentence"] += done.returncode == 1
        code = wait(launch(config, runs))
        found = differences(runs, whole) if code == 0 else [f"exit code {code}: {output_of(runs).read_text()[-500:]}"]
        counts["equal to the bit"] += not found
        failures += [f"write {number}: differs in {', '.join(found)}"] if found else []
    return counts, failures


def attack_scan(folder: Path, num_sizes: int) -> tuple[Counter[str], list[str]]:
    """As ``attack``, of a scan of six videos, for ``num_sizes`` sizes from nearly none to the largest of the tables."""
    counts, failures = Counter[str](), list[str]()
    videos = folder / "videos"
    videos.mkdir(parents=True)
    for number in range(6):
        numbered_clip(videos / f"{number}.mp4", "libx264", 12 + number)
    whole = folder / "whole"
    done = _scan(videos, whole)
    if done.returncode:
        return counts, [f"the scan never stopped failed: {done.stderr[-2000:]}"]
    largest = max(path.stat().st_size for path in whole.iterdir())
    for number in range(num_sizes):
        store, size = folder / f"full{number}", _SMALLEST + number * (largest - 1 - _SMALLEST) // max(1, num_sizes - 1)
        done = _scan(videos, store, most_bytes=size)
        counts["tried"] += 1
        said = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        is_sentence = done.returncode == 1 and len(said) == 1 and str(store) in said[0]
        counts["refused in a sentence"] += is_sentence
        if not is_sentence or "Traceback" in done.stderr:
            failures.append(f"{size} bytes: ended with {done.returncode} and {done.stderr[-300:]}")
        again = _scan(videos, store)
        is_equal = again.returncode == 0 and facts_in(store) == facts_in(whole)
        counts["equal to the bit"] += is_equal
        failures += [] if is_equal else [f"{size} bytes: then {again.returncode} and {again.stderr[-300:]}"]
    return counts, failures


def _scan(videos: Path, store: Path, *, most_bytes: int | None = None) -> subprocess.CompletedProcess[str]:
    limit = ["-c", _LIMITED, str(most_bytes)] if most_bytes is not None else []
    command = ["tools/prepare_data.py", "scan", str(videos), "--scan-cache", str(store), "--workers", "1"]
    return run_to_end([*limit, *command])


def facts_in(store: Path) -> dict[str, tuple[VideoInfo, tuple[bytes, bytes]]]:
    """What the tables hold of each video, with its packet index in place of the index's location."""
    reader = IndexReader()
    found = {}
    for path, info in read_video_info(store).items():
        assert info.packets is not None
        index = reader.read(info.packets, info.num_packets)
        found[path] = replace(info, packets=None), (index.packets_P.tobytes(), index.codec_header)
    return found


def _faults(done: subprocess.CompletedProcess[str], runs: Path) -> list[str]:
    said = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    faults = ["printed a traceback"] if "Traceback" in done.stderr else []
    if done.returncode != 0 and (done.returncode != 1 or len(said) != 1 or str(runs) not in said[0]):
        faults.append(f"ended with {done.returncode} and {said or done.stderr[-300:]}")
    run = runs / "tiny"
    faults += [f"left {path.name}" for path in run.glob(".*.tmp")]
    try:
        if (run / "last.pt").exists():
            load_checkpoint(run / "last.pt")
    except ValueError as error:
        faults.append(str(error))
    return faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000, help="most writes to refuse (default: every one)")
    parser.add_argument("--seed", type=int, default=0, help="not used: every write is tried")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        writes = range(1, chosen.count + 1) if chosen.count else numbers(1)
        counts, failures = attack(Path(folder), writes)
        of_scan, failures_of_scan = attack_scan(Path(folder) / "scan", min(chosen.count, 40))
    code = report("full disk in a scan", of_scan.pop("tried", 0), of_scan, failures_of_scan)
    return max(code, report("full disk", counts.pop("tried", 0), counts, failures))


if __name__ == "__main__":
    sys.exit(main())
