"""The tables of a report, for a page and for Markdown alike."""

from __future__ import annotations

from reskd.pages.tables import Cell, Table
from reskd.statistics.metrics import Metric
from reskd.statistics.shown import shown_cost, shown_difference, shown_interval, shown_value
from reskd.study.page.data import ReportArm, StudyReport
from reskd.study.page.words import (
    seeds_and_videos,
    shown_percent,
)


def report_tables(report: StudyReport) -> dict[str, Table]:
    """By the heading of their section; tables without a row are left out, but that of arms."""
    tables = {
        "Arms": _arms(report),
        "Comparisons": _comparisons(report),
        "Share of the gap": _gaps(report),
        "Runs that failed": _failures(report),
    }
    return {heading: table for heading, table in tables.items() if table.rows or heading == "Arms"}


def _arms(report: StudyReport) -> Table:
    titles = (
        "arm",
        *(metric.title for metric in report.metrics),
        "GFLOPs a video",
        "network, ms",
        "from file, ms",
        "runs done",
    )
    caption = (
        "Mean +- standard deviation over seeds. GFLOPs: a multiply-add counts as two operations. ms: of one video, "
        "measured on the machine named below."
    )
    return Table(caption, titles, tuple(_arm_row(arm, report.metrics) for arm in report.arms))


def _arm_row(arm: ReportArm, shown: tuple[Metric, ...]) -> tuple[Cell, ...]:
    metrics = []
    for metric in shown:
        found = None if arm.summary is None else arm.summary.metrics.get(metric.name)
        text = "-" if found is None else shown_value(metric, found.mean)
        if found is not None and found.deviation is not None:
            text += f" +- {shown_value(metric, found.deviation)}"
        metrics.append(Cell(text, "number"))
    costs = map(shown_cost, (arm.gflops_per_video, arm.ms_per_video, arm.ms_from_file))
    done = f"{arm.num_done} of {arm.num_planned}"
    return (Cell(arm.name), *metrics, *(Cell(text, "number") for text in (*costs, done)))


def _comparisons(report: StudyReport) -> Table:
    titles = ("comparison", "metric", "verdict", "difference", "interval", "standard error", "seeds better")
    rows: list[tuple[Cell, ...]] = []
    for row in report.comparisons:
        name = f"{row.arm} minus {row.other}"
        if row.comparison is None:
            reason = row.reason or "no run of both has finished"
            rows.append((Cell(name), Cell("all"), Cell(f"none: {reason}"), *(Cell("-", "number"),) * 4))
            continue
        name = f"{name} ({seeds_and_videos(row.comparison)})"
        for one in row.comparison.differences:
            metric = one.metric
            numbers = (
                f"{shown_difference(metric, one.value)} {metric.unit}",
                shown_interval(metric, one.low, one.high),
                shown_value(metric, one.standard_error),
                f"{one.num_seeds_better} of {row.comparison.num_seeds}",
            )
            cells = (Cell(text, "number") for text in numbers)
            rows.append((Cell(name), Cell(metric.title), Cell(one.verdict, one.verdict), *cells))
    return Table("Differences on the same videos and seeds; the verdict is on the first arm.", titles, tuple(rows))


def _gaps(report: StudyReport) -> Table:
    titles = ("student, between baseline and teacher", "metric", "share of the gap", "interval")
    rows = []
    for gap in report.gaps:
        name = f"{gap.student}, between {gap.baseline} and {gap.teacher}"
        for one in gap.shares:
            share, interval = "not defined", one.reason
            if one.share is not None and one.low is not None and one.high is not None:
                share, interval = shown_percent(one.share), f"{shown_percent(one.low)} to {shown_percent(one.high)}"
            rows.append((Cell(name), Cell(one.metric.title), Cell(share, "number"), Cell(interval, "number")))
    return Table("(student - baseline) / (teacher - baseline).", titles, tuple(rows))


def _failures(report: StudyReport) -> Table:
    rows = tuple((Cell(run.arm), Cell(run.run), Cell(run.kind, run.kind), Cell(run.reason)) for run in report.failures)
    return Table("These runs count in no mean and in no comparison.", ("arm", "run", "what", "reason"), rows)
