"""Compares versions of one exported student on the same labeled videos: top-1, a paired interval, latency.

Note [The interval of a paired difference]
Both versions see the same n videos. Of these, b are right in fp32 alone and c in the other version alone. The
difference of top-1 is (c - b) / n. Its 95 % interval is that of Agresti and Min (Statistics in Medicine 24, 2005, page
729): half a video is added to each cell of the table of four, and the normal interval taken of that. Unlike the plain
one, it does not shrink to nothing where the versions agree on every video. Videos count as independent.

Shape letters: V test views, K classes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch

from reskd.evaluation.multi_view import average_views
from reskd.experiment.data import data_of
from reskd.inference.deployment.listed_clips import TestClips
from reskd.inference.deployment.quantization import Session
from reskd.inference.student import TrainedStudent

MOST_LOSS = 1.0  # points of top-1 that a version may lose against fp32
_NORMAL_95 = 1.959964
_NUM_TIMED = 50  # clips whose latency is measured


@dataclass(frozen=True)
class VersionResult:
    """One version on the list.

    Args:
        top1: percent of videos whose best class is a label.
        difference, low, high: points against fp32, and their 95 % interval.
        same_answers: percent of videos with fp32's best class.
        median_ms, fast_ms, slow_ms: latency of one clip: median, 10th and 90th percentile.
        mib: size of the file.
    """

    version: str
    top1: float
    difference: float
    low: float
    high: float
    same_answers: float
    median_ms: float
    fast_ms: float
    slow_ms: float
    mib: float

    @property
    def loses_too_much(self) -> bool:
        return self.difference < -MOST_LOSS


class Difference(NamedTuple):
    """Points of top-1, and the ends of the 95 % interval."""

    points: float
    low: float
    high: float


def paired_difference(right: np.ndarray, right_fp32: np.ndarray) -> Difference:
    """See Note [The interval of a paired difference].

    Args:
        right, right_fp32: bool (n,), which videos each version has right.
    """
    count = len(right)
    only_fp32, only_this = int((right_fp32 & ~right).sum()), int((right & ~right_fp32).sum())
    low_share, high_share = (only_fp32 + 0.5) / (count + 2), (only_this + 0.5) / (count + 2)
    middle = high_share - low_share
    half = _NORMAL_95 * math.sqrt((high_share + low_share - middle**2) / (count + 2))
    return Difference(100 * (only_this - only_fp32) / count, 100 * (middle - half), 100 * (middle + half))


@dataclass
class Comparison:
    """Runs every version on the clips of each video.

    Args:
        sessions: by name; the first one is fp32.
        input_names: of all of them.
    """

    student: TrainedStudent
    sessions: Mapping[str, Session]
    input_names: Sequence[str]
    best: dict[str, list[int]] = field(default_factory=dict)
    feeds: list[dict[str, np.ndarray]] = field(default_factory=list)
    times_ms: dict[str, list[float]] = field(default_factory=dict)
    labels: list[frozenset[int]] = field(default_factory=list)

    def run(self, videos: Iterable[TestClips], labels: Mapping[str, frozenset[int]]) -> None:
        """Answer each video with every version, and then measure latencies, when no video is decoded any more."""
        self.best = {name: [] for name in self.sessions}
        for clips in videos:
            self.labels.append(labels[clips.file])
            for name in self.sessions:
                self.best[name].append(self._answer(name, clips))
            if len(self.feeds) < _NUM_TIMED:
                self.feeds.append(feed_of(self.input_names, clips.frames_VTHWC[:1], clips.valid_VT[:1]))
        self._measure()

    def _measure(self) -> None:
        """Time each version on single clips. They take turns, so that a change of the machine's load hits all."""
        names = list(self.sessions)
        self.times_ms = {name: [] for name in names}
        for number, feed in enumerate(self.feeds):
            shift = number % len(names)
            for name in names[shift:] + names[:shift]:
                if number == 0:
                    self.sessions[name](feed)  # the first call of a shape allocates
                start_s = time.perf_counter()
                self.sessions[name](feed)
                self.times_ms[name].append(1e3 * (time.perf_counter() - start_s))

    def _answer(self, name: str, clips: TestClips) -> int:
        session, logits = self.sessions[name], []
        for frames_THWC, valid_T in zip(clips.frames_VTHWC, clips.valid_VT, strict=True):
            logits.append(session(feed_of(self.input_names, frames_THWC[None], valid_T[None]))[0])
        averaging = data_of(self.student.config).averaging
        logits_1VK = torch.from_numpy(np.stack(logits))[None].float()
        return int(average_views(logits_1VK, averaging, self.student.scores)[0].argmax())

    def results(self, sizes_mib: Mapping[str, float]) -> list[VersionResult]:
        """One for each version, fp32 first.

        Raises:
            ValueError: no video was answered.
        """
        if not self.labels:
            raise ValueError("--check: expected videos that can be read, found none; give another list.")
        right = {
            name: np.array([answer in labels for answer, labels in zip(best, self.labels, strict=True)])
            for name, best in self.best.items()
        }
        first, *_ = right
        found = []
        for name, right_N in right.items():
            difference = paired_difference(right_N, right[first])
            same = 100 * float(np.mean(np.array(self.best[name]) == np.array(self.best[first])))
            fast, median, slow = np.percentile(self.times_ms[name], [10, 50, 90]).tolist()
            top1 = 100 * float(right_N.mean())
            found.append(VersionResult(name, top1, *difference, same, median, fast, slow, sizes_mib[name]))
        return found


def feed_of(names: Sequence[str], frames_NTHWC: np.ndarray, valid_NT: np.ndarray) -> dict[str, np.ndarray]:
    """The inputs of a model by name: frames, and the mask if it takes one."""
    return dict(zip(names, (frames_NTHWC, valid_NT), strict=False))


def as_table(results: Sequence[VersionResult], num_videos: int) -> str:
    """A Markdown table."""
    lines = [
        "| version | top-1 | against fp32 (95 % interval) | same answers | ms a clip (10-90 %) | MiB |",
        "|---|---|---|---|---|---|",
    ]
    for number, one in enumerate(results):
        against = f"{one.difference:+.1f} points ({one.low:+.1f} to {one.high:+.1f})" if number else ""
        times = f"{one.median_ms:.1f} ({one.fast_ms:.1f}-{one.slow_ms:.1f})"
        lines.append(
            f"| {one.version} | {one.top1:.1f} % of {num_videos} | {against} | {one.same_answers:.1f} % | {times} | "
            f"{one.mib:.1f} |"
        )
    return "\n".join(lines)


def as_values(results: Sequence[VersionResult], num_videos: int, about: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values for a JSON file."""
    return {"schema_version": 1, "num_videos": num_videos, **about, "versions": [asdict(one) for one in results]}
