"""What the report of a study shows: plain values, filled by whoever ran the study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from reskd.statistics.comparison import Comparison, GapShare
from reskd.statistics.metrics import METRICS, ArmSummary, Metric

Curve = tuple[tuple[float, float], ...]  # of one run: (epoch, metric)


def arm_at(arm: str, values: Sequence[str]) -> str:
    """The name of an arm at values of the study's axes, such as "student (2, 64)"."""
    return f"{arm} ({', '.join(values)})" if values else arm


@dataclass(frozen=True)
class ReportArm:
    """One arm of a study.

    Attributes:
        summary: of its finished runs; None if there is none.
        num_done, num_planned: runs, over seeds and splits.
        gflops_per_video: 10^9 floating-point operations; a multiply-add counts as two.
        ms_per_video: measured, of the network alone.
        ms_from_file: measured, from an undecoded file to scores, on one thread; None where the data are no videos.
        axis_values: where the arm stands on the study's axis, such as its resolution; several where the axis changes
            nothing for it.
        intervals: name of a metric -> (low, high) of its mean, where bars or lines show the arm.
        line: arms with an axis value and the same name here are joined by a line; "" joins none.
        curves: one a run, of ``StudyReport.curve_title``.
        values: of the axes that its runs depend on, such as ("2", "64").
    """

    arm: str
    summary: ArmSummary | None
    num_done: int
    num_planned: int
    gflops_per_video: float | None = None
    ms_per_video: float | None = None
    axis_values: tuple[float, ...] = ()
    line: str = ""
    curves: tuple[Curve, ...] = ()
    ms_from_file: float | None = None
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    values: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return arm_at(self.arm, self.values)


@dataclass(frozen=True)
class ReportComparison:
    """``arm`` minus ``other``; where ``comparison`` is None, ``reason`` says why there is none.

    Attributes:
        question: shared by the comparisons of one line of the study's ``compare``, one for each value of its axes.
    """

    arm: str
    other: str
    question: str
    comparison: Comparison | None
    reason: str = ""


@dataclass(frozen=True)
class ReportGap:
    """What ``share_of_gap`` found for these arms."""

    student: str
    baseline: str
    teacher: str
    shares: tuple[GapShare, ...]


@dataclass(frozen=True)
class ReportBars:
    """Names of arms that are shown side by side."""

    title: str
    arms: tuple[str, ...]


@dataclass(frozen=True)
class FailedRun:
    """A run whose predictions count nowhere. ``run`` names it within its arm, such as "seed 1, split 2"."""

    arm: str
    run: str
    kind: Literal["failed", "diverged"]
    reason: str


@dataclass(frozen=True)
class Picture:
    """An image inside the page, as a data URI.

    Raises:
        ValueError: it is something else, which the page would load from elsewhere.
    """

    title: str
    data_uri: str

    def __post_init__(self) -> None:
        if not self.data_uri.startswith(
            ("data:image/png;base64,", "data:image/jpeg;base64,", "data:image/webp;base64,")
        ):
            raise ValueError(
                f"{self.title}: expected an image as a data URI in base64 (PNG, JPEG or WebP), found "
                f"{self.data_uri[:40]!r}; encode the file's bytes."
            )


@dataclass(frozen=True)
class StudyReport:
    """Everything that a report shows.

    Attributes:
        comparisons: the first one is the study's question; its verdicts are the first paragraph. Where it is asked at
            several values of the axes, the first paragraph counts the verdicts of every question.
        bars: arms side by side.
        axis_title: of the arms' axis values, such as "short side, pixels".
        curve_title: what the arms' curves show.
        commands: with which the study can be done again, one line each.
        environment: versions, processor, commit.
        notes: further sentences for the reader.
    """

    title: str
    arms: tuple[ReportArm, ...]
    comparisons: tuple[ReportComparison, ...] = ()
    gaps: tuple[ReportGap, ...] = ()
    failures: tuple[FailedRun, ...] = ()
    bars: tuple[ReportBars, ...] = ()
    axis_title: str = ""
    curve_title: str = "validation top-1"
    pictures: tuple[Picture, ...] = ()
    commands: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Those of the arms, each once; the first is the headline, drawn against costs and over epochs."""
        found = dict.fromkeys(kind for arm in self.arms if arm.summary is not None for kind in arm.summary.kinds)
        return tuple(found) or METRICS
