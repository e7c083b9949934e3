"""A report with one verdict of each kind, and a name that is markup where it is not escaped."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from reskd.statistics.comparison import Comparison, Difference, GapShare
from reskd.statistics.metrics import METRICS, ArmSummary, MeanAndDeviation
from reskd.study.page.data import FailedRun, Picture, ReportArm, ReportBars, ReportComparison, ReportGap, StudyReport

ODD = "<b>5 & \"6\" | 'x'</b>"
_TOP1, _MAP, _MEAN_CLASS, _LOG_LOSS = METRICS
DIFFERENCES = (
    Difference(_TOP1, 0.031, 0.008, 0.052, 0.011, "better", {0: 0.02, 1: 0.042}),
    Difference(_MAP, 0.01, -0.02, 0.04, 0.015, "undecided", {0: -0.01, 1: 0.03}),
    Difference(_MEAN_CLASS, -0.05, -0.08, -0.02, 0.016, "worse", {0: -0.05, 1: -0.05}),
    Difference(_LOG_LOSS, -0.1234, -0.2, -0.05, 0.04, "better", {0: -0.1, 1: -0.1468}),
)
INTERVALS = {"top1": (0.77, 0.84), "map": (0.47, 0.52), "mean_class_accuracy": (0.4, 0.6), "log_loss": (1.1, 1.5)}
COMPARISON = Comparison(DIFFERENCES, num_seeds=2, num_videos=1334, num_groups=50, confidence=0.95, num_resamples=2000)


def summary(top1: float, *, seeds: int = 2) -> ArmSummary:
    values = {"top1": top1, "map": 0.5, "mean_class_accuracy": 0.5, "log_loss": 1.25}
    deviation = None if seeds == 1 else 0.0125
    return ArmSummary({name: MeanAndDeviation(value, deviation) for name, value in values.items()}, seeds, 1334)


def study(**changed: Any) -> StudyReport:
    curves = (((1, 0.2), (2, 0.5)), ((1, 0.3),))
    student = ReportArm(
        "student", summary(0.8), 6, 6, 4.4, 8.04, (112,), "students", curves, ms_from_file=31.5, intervals=INTERVALS
    )
    gap = ReportGap(
        "student",
        "baseline",
        "teacher",
        (
            GapShare(_TOP1, 0.62, 0.2, 1.04),
            *(GapShare(metric, None, None, None, "the gap may be nothing") for metric in METRICS[1:]),
        ),
    )
    report = StudyReport(
        title="pixels & frames",
        arms=(
            student,
            replace(student, arm="baseline", summary=summary(0.769), line="baselines"),
            ReportArm("teacher", summary(0.9, seeds=1), 3, 3, 123.4, 41.0, (224,), "teacher"),
            ReportArm(ODD, summary(0.7), 2, 6, 2.2, 5.0, (56,), "students", intervals={"top1": (0.66, 0.75)}),
            ReportArm("not run", None, 0, 6),
        ),
        comparisons=(
            ReportComparison("student", "baseline", "student over baseline", COMPARISON),
            ReportComparison(ODD, "baseline", f"{ODD} over baseline", COMPARISON._replace(num_seeds=1, num_groups=5)),
            ReportComparison("not run", "baseline", "not run over baseline", None, "its runs have not started"),
        ),
        gaps=(gap,),
        failures=(FailedRun(ODD, "seed 1, split 2", "diverged", f"loss is NaN in {ODD}"),),
        bars=(ReportBars("Levels", ("baseline", ODD, "student", "not run")), ReportBars("", ("student",))),
        axis_title="short side, pixels",
        pictures=(Picture(ODD, "data:image/png;base64,iVBORw0KGgo="),),
        commands=("reskd study --name '<x>' && echo done",),
        environment={"torch": "2.15.0", "processor <p>": ODD},
        notes=(f"A note on {ODD}.",),
    )
    return replace(report, **changed)
