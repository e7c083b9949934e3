"""Measures the cost of reading a clip with our loader and with other readers: cpu time, clips/s, bytes, memory.

Note [From rest to rest]
Loaders work ahead. So timing starts when all of a candidate's processes are idle with full queues, and ends when they
are idle again: exactly as many clips were made as were taken. Every candidate has a process of its own, and they take
turns, in another order in each round, so that a busy moment of the machine affects all of them.
"""

from __future__ import annotations

import statistics
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from dali_pipes.atomic_files import atomic_open
from dali_pipes.manifest.manifest import Manifest
from reskd.profiling.decode.candidates import CANDIDATES
from reskd.profiling.decode.correctness import Check, Reference
from reskd.profiling.decode.process import CandidateHost, Turn
from reskd.profiling.decode.workload import Workload
from reskd.profiling.measurement_rows import quantiles, rounded

STAGES = ("read", "demux", "remux", "decode", "convert", "resize")
_NUM_CHECKED_CLIPS = 2
_NUM_COUNTED_CLIPS = 64  # clips whose decoded frames are counted
# More batches than any candidate makes ahead: DataLoader two per worker, the others fewer.
_AHEAD, _AHEAD_A_WORKER = 8, 2


@dataclass(frozen=True)
class Row:
    """One candidate on one kind of file with one number of frames; None: not known or not measured.

    Attributes:
        status: "ok", or why there are no numbers.
        frames_decoded: average per clip; ``amplification`` is that over the frames used.
        stages_ms: cpu-ms per clip of each stage, run in sequence in one process; "rest" is the remaining cpu time.
    """

    files: str
    codec: str
    num_frames: int
    batch_size: int
    num_workers: int
    num_clips: int
    candidate: str
    status: str
    clips_per_s: float | None = None
    clips_per_s_p20: float | None = None
    clips_per_s_p80: float | None = None
    cpu_ms: float | None = None
    cpu_ms_p20: float | None = None
    cpu_ms_p80: float | None = None
    frames_decoded: float | None = None
    amplification: float | None = None
    read_kib: float | None = None
    peak_mib: float | None = None
    checked_frames: int | None = None
    wrong_frames: int | None = None
    misreported_frames: int | None = None
    mean_difference: float | None = None
    worst_difference: float | None = None
    nvdec_percent: float | None = None
    stages_ms: Mapping[str, float] = field(default_factory=dict)

    def as_columns(self) -> dict[str, object]:
        """A column per field and per stage; floats with four digits after the point."""
        columns = {name: value for name, value in asdict(self).items() if name != "stages_ms"}
        columns |= {f"{stage}_ms": self.stages_ms.get(stage) for stage in (*STAGES, "rest")}
        return rounded(columns)


def measure_files(
    files: str,
    workload: Workload,
    candidates: Sequence[str],
    *,
    rounds: int,
    batches_a_turn: int,
    on_message: Callable[[str], None] = lambda message: None,
) -> list[Row]:
    """Measure all candidates on one manifest, in turns. A candidate that cannot run, or fails, gets a row saying why.

    Args:
        files: the name of these files in the rows.
        workload: ``num_positions`` is set here, to the number that the turns need.
        rounds: timed turns of each candidate, after a warmup.
        batches_a_turn: batches of ``workload.batch_size`` clips.
        on_message: called with one sentence when a candidate starts and ends.
    """
    manifest = Manifest.open(workload.manifest_folder)
    workload = replace(
        workload, num_positions=workload.batch_size * _num_batches(workload.num_workers, rounds, batches_a_turn)
    )
    codecs = "+".join(sorted({manifest.row(number).video_info.codec for number in range(len(manifest))}))
    num_clips = rounds * batches_a_turn * workload.batch_size
    empty = Row(files, codecs, workload.num_frames, workload.batch_size, workload.num_workers, num_clips, "", "ok")
    rows = {name: replace(empty, candidate=name) for name in candidates}
    reference = Reference(workload, min(_NUM_CHECKED_CLIPS, workload.batch_size))
    with ExitStack() as stack:
        hosts = {}
        for name in candidates:
            reason = CANDIDATES[name].why_not(manifest, workload.device)
            on_message(f"{files}, {workload.num_frames} frames, {name}: {reason or 'starts'}")
            if reason:
                rows[name] = replace(rows[name], status=f"absent: {reason}")
                continue
            hosts[name] = stack.enter_context(CandidateHost(name, workload))
            rows[name] = _try(rows[name], lambda row, host: _checked(row, host, reference), hosts[name])
        turns: dict[str, list[Turn]] = {name: [] for name in hosts}
        nvdec: dict[str, list[float]] = {name: [] for name in hosts}
        for number in range(rounds + 1):
            for name in rotated(list(hosts), number):
                if rows[name].status == "ok":
                    with _nvdec_watched(workload, nvdec[name]):
                        rows[name] = _try(rows[name], _take_into(turns[name], batches_a_turn), hosts[name])
        for name, host in hosts.items():
            rows[name] = _try(rows[name], _finished(turns[name][1:], nvdec[name], batches_a_turn), host)
    return list(rows.values())


def _num_batches(num_workers: int, rounds: int, batches_a_turn: int) -> int:
    """The first batch, the warmup turn, the timed turns, the turn that measures memory, and the batches made ahead."""
    return 1 + (rounds + 2) * batches_a_turn + _AHEAD + _AHEAD_A_WORKER * num_workers


def rotated(names: Sequence[str], number: int) -> list[str]:
    """The order of a round: each round starts one candidate later, and every other round is reversed."""
    shift = number % len(names) if names else 0
    order = [*names[shift:], *names[:shift]]
    return order[::-1] if number % 2 else order


def _try(row: Row, work: Callable[[Row, CandidateHost], Row], host: CandidateHost) -> Row:
    """The row from ``work``, or one that describes how the candidate failed, now or before."""
    if row.status != "ok":
        return row
    try:
        return work(row, host)
    except (RuntimeError, TimeoutError) as error:
        return replace(row, status=f"failed: {error}")


def _checked(row: Row, host: CandidateHost, reference: Reference) -> Row:
    found: Check = reference.check(*host.first_batch())
    return replace(
        row,
        checked_frames=found.num_frames,
        wrong_frames=found.num_wrong,
        misreported_frames=found.misreported,
        mean_difference=found.mean_difference,
        worst_difference=found.worst_difference,
    )


def _take_into(turns: list[Turn], num_batches: int) -> Callable[[Row, CandidateHost], Row]:
    def work(row: Row, host: CandidateHost) -> Row:
        turns.append(host.take(num_batches))
        return row

    return work


def _finished(
    turns: Sequence[Turn], nvdec: Sequence[float], batches_a_turn: int
) -> Callable[[Row, CandidateHost], Row]:
    """The row with the turns' medians, and the separate measurements: memory, stages, frames decoded."""

    def work(row: Row, host: CandidateHost) -> Row:
        slow, speed, fast = quantiles([turn.num_clips / turn.wall_seconds for turn in turns])
        low, cpu, high = quantiles([1e3 * turn.cpu_seconds / turn.num_clips for turn in turns])
        stages = host.stages(turns[0].num_clips)
        decoded = frames_decoded(host.workload, row.candidate)
        return replace(
            row,
            clips_per_s=speed,
            clips_per_s_p20=slow,
            clips_per_s_p80=fast,
            cpu_ms=cpu,
            cpu_ms_p20=low,
            cpu_ms_p80=high,
            frames_decoded=decoded,
            amplification=None if decoded is None else decoded / row.num_frames,
            read_kib=statistics.median(turn.bytes_read / turn.num_clips for turn in turns) / 1024,
            peak_mib=host.peak_memory_mib(batches_a_turn),
            nvdec_percent=statistics.mean(nvdec) if nvdec else None,
            stages_ms={**stages, "rest": cpu - sum(stages.values())} if stages else {},
        )

    return work


def frames_decoded(workload: Workload, candidate: str) -> float | None:
    """Frames decoded for a clip, averaged over the first plans; None if the candidate hides it."""
    chooser, count = workload.chooser(), CANDIDATES[candidate].frames_decoded
    plans = [chooser.plan(position, 0) for position in range(min(_NUM_COUNTED_CLIPS, workload.num_positions))]
    counts = [count(chooser.manifest.row(plan.row), plan, workload.device) for plan in plans]
    known = [number for number in counts if number is not None]
    return statistics.mean(known) if len(known) == len(counts) else None


@contextmanager
def _nvdec_watched(workload: Workload, percents: list[float]) -> Any:
    """Append the mean utilization of the GPU's decoders in the block to ``percents``; no-op for a CPU. UNPROVEN."""
    if workload.device != "cuda":
        yield
        return
    command = ["nvidia-smi", "--query-gpu=utilization.decoder", "--format=csv,noheader,nounits", "--id=0"]
    command += ["-lms", "100"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    lines: list[str] = []
    assert process.stdout is not None
    reader = threading.Thread(target=lines.extend, args=(process.stdout,))
    reader.start()
    try:
        yield
    finally:
        process.terminate()
        reader.join()
        process.wait()
        seen = [float(line) for line in lines if line.strip().isdigit()]
        percents += [statistics.mean(seen)] if seen else []


def draw_rows(rows: Sequence[Mapping[str, str]], path: Path) -> None:
    """Draw cpu-ms per clip on the last row's device, a group of bars per kind of file. Newest rows win."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = [row for row in rows if row["device"] == rows[-1]["device"] and row["cpu_ms"]]
    newest = {(f"{row['files']}\n{row['num_frames']} frames", row["candidate"]): row for row in rows}
    groups = list(dict.fromkeys(group for group, _ in newest))
    candidates = list(dict.fromkeys(candidate for _, candidate in newest))
    figure, axes = plt.subplots(figsize=(9, 1 + 0.16 * len(groups) * (len(candidates) + 1)), layout="constrained")
    height = 0.85 / max(1, len(candidates))
    for number, candidate in enumerate(candidates):
        keys = [(index, (group, candidate)) for index, group in enumerate(groups)]
        there = [(index, newest[key]) for index, key in keys if key in newest]
        values = [float(row["cpu_ms"]) for _, row in there]
        spread = [
            [value - float(row["cpu_ms_p20"]) for value, (_, row) in zip(values, there, strict=True)],
            [float(row["cpu_ms_p80"]) - value for value, (_, row) in zip(values, there, strict=True)],
        ]
        indices = [index + number * height for index, _ in there]
        bars = axes.barh(indices, values, height, xerr=spread, error_kw={"linewidth": 0.7}, label=candidate)
        labels = [f"{value:.0f}" + (" WRONG FRAMES" if int(row["wrong_frames"] or 0) else "") for value, (_, row) in
                  zip(values, there, strict=True)]  # fmt: skip
        axes.bar_label(bars, labels, padding=3, fontsize=6)
    axes.set_yticks([index + 0.42 - height / 2 for index in range(len(groups))], groups, fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("cpu-ms a clip, process and children; 20th to 80th percentile")
    commits = ", ".join(sorted({row["commit"] for row in newest.values()}))
    axes.set_title(f"{rows[-1]['device']}, commit {commits}", fontsize=9)
    axes.legend(fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_open(path) as file:
        figure.savefig(file, format="png", dpi=110)
    plt.close(figure)
