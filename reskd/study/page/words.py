"""The sentences and numbers of a report, as plain text without markup."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from reskd.statistics.comparison import Comparison, Difference, GapShare
from reskd.statistics.shown import counted, rounded, shown_difference, shown_interval
from reskd.study.page.data import ReportComparison, ReportGap, StudyReport


def shown_percent(share: float) -> str:
    return f"{rounded(100 * share, 0)} %"


def shown_confidence(comparison: Comparison) -> str:
    return f"{100 * comparison.confidence:g} %"


def seeds_and_videos(comparison: Comparison) -> str:
    return (
        f"{counted(comparison.num_seeds, 'seed')}, {counted(comparison.num_videos, 'video')} in "
        f"{counted(comparison.num_groups, 'group')}"
    )


def verdict_of(difference: Difference, confidence: str) -> str:
    """Such as "better in top-1 (+3.1 points, 95 % interval 0.8 to 5.2)"."""
    metric = difference.metric
    return (
        f"{difference.verdict} in {metric.title} ({shown_difference(metric, difference.value)} {metric.unit}, "
        f"{confidence} interval {shown_interval(metric, difference.low, difference.high)})"
    )


def describe_comparison(row: ReportComparison) -> str:
    """One sentence with the verdict of every metric, and one for each reason to doubt the intervals."""
    comparison = row.comparison
    if comparison is None:
        return f"{row.arm} cannot be compared with {row.other}: {row.reason or 'no run of both has finished.'}"
    verdicts = ", ".join(verdict_of(one, shown_confidence(comparison)) for one in comparison.differences)
    return f"{row.arm} compared with {row.other} ({seeds_and_videos(comparison)}): {verdicts}.{_doubt(comparison)}"


def count_verdicts(question: str, rows: Sequence[ReportComparison]) -> str:
    """One sentence with the number of verdicts of each kind in every metric, for one question at several values."""
    found = [row.comparison for row in rows if row.comparison is not None]
    missing = f", {len(rows) - len(found)} not done" if len(found) < len(rows) else ""
    if not found:
        return f"{question}: none of {counted(len(rows), 'comparison')} is done."
    fewest = min(found, key=lambda one: (one.num_seeds, one.num_groups))
    of_metric: dict[str, Counter[str]] = {}  # arms of two kinds of scores have two sets of metrics
    for one in found:
        for difference in one.differences:
            of_metric.setdefault(difference.metric.title, Counter())[difference.verdict] += 1
    parts = []
    for title, verdicts in of_metric.items():
        kinds = [f"{verdicts[kind]} {kind}" for kind in ("better", "worse", "undecided") if verdicts[kind]]
        parts.append(f"{', '.join(kinds)} in {title}")
    head = f"{question}, {counted(len(rows), 'comparison')}{missing} ({seeds_and_videos(fewest)})"
    return f"{head}: {'; '.join(parts)}.{_doubt(fewest)}"


def _doubt(comparison: Comparison) -> str:
    if comparison.num_seeds == 1:
        return " One seed decides nothing, as runs with other seeds may differ by more than the intervals."
    if not comparison.can_decide:
        return " So few groups of videos decide nothing, whatever the intervals are."
    return ""


def describe_gap(gap: ReportGap) -> str:
    """One sentence on how much of the way from baseline to teacher the student went, for each metric."""
    parts = ", ".join(_describe_share(one) for one in gap.shares)
    return f"Of the gap between {gap.baseline} and {gap.teacher}, {gap.student} recovers: {parts}."


def describe_runs(report: StudyReport) -> str:
    """How many runs are done, and how many failed or diverged."""
    done, planned = (sum(getattr(arm, name) for arm in report.arms) for name in ("num_done", "num_planned"))
    text = f"{done} of {counted(planned, 'planned run')} {'is' if done == 1 else 'are'} done"
    kinds = [(kind, sum(run.kind == kind for run in report.failures)) for kind in ("failed", "diverged")]
    text += "".join(f", {count} {kind}" for kind, count in kinds if count)
    if done < planned or report.failures:
        return f"{text}; every mean is over finished runs only."
    return f"{text}."


def lead_sentences(report: StudyReport) -> tuple[str, ...]:
    """The report's first paragraph: the verdicts of the study's question, its gap, and the state of the runs.

    Where the first question is asked at several values of the axes, every question has its verdicts counted.
    """
    questions: dict[str, list[ReportComparison]] = {}
    for row in report.comparisons:
        questions.setdefault(row.question, []).append(row)
    if questions and len(next(iter(questions.values()))) > 1:
        return (*(count_verdicts(name, rows) for name, rows in questions.items()), describe_runs(report))
    sentences = [describe_comparison(row) for row in report.comparisons[:1]]
    sentences += [describe_gap(gap) for gap in report.gaps[:1]]
    return (*sentences, describe_runs(report))


def reading_notes(report: StudyReport) -> tuple[str, ...]:
    """How the numbers are made, and what they do not say."""
    found = [row.comparison for row in report.comparisons if row.comparison is not None]
    notes = [
        "An arm's number is the mean over its seeds, +- the standard deviation (n - 1); a seed's number is over the "
        "test videos of all its splits together.",
        _describe_metrics(report),
    ]
    notes += [
        "The dashed line of a chart of costs is the Pareto frontier: no other arm is cheaper than one of its arms and "
        "at least as good, or as cheap and better. It joins the means, and does not know how sure they are."
    ]
    if report.bars or report.axis_title:
        notes += [
            "The interval of a bar, and the band along a line, is the percentile bootstrap of the arm alone, over "
            "groups of videos and seeds; one seed says nothing about others. Arms whose intervals overlap may still "
            "differ, as the same videos are hard for both: the paired comparison tells."
        ]
    if found:
        count = sum(len(one.differences) for one in found)
        outside = 1 - found[0].confidence
        notes += [
            "A comparison is paired: both arms have the same videos and seeds. Its interval is a percentile bootstrap "
            f"of {found[0].num_resamples:,} resamples that draws groups of videos and seeds with replacement, widened "
            "as seeds are few. A verdict other than undecided means that the interval does not hold 0; one seed, or "
            "too few groups, decide nothing. Undecided does not mean equal. What is drawn are test videos and seeds: "
            "training lists and classes are as they are.",
            f"The {count} verdicts are not corrected for their number: where arms do not differ at all, about "
            f"{100 * outside:.2g} % of verdicts are better or worse by chance, fewer where seeds differ little, more "
            "where they differ much and are few. Such verdicts come in clusters, as metrics and comparisons share "
            "runs.",
        ]
    return (*notes, *report.notes)


def _describe_metrics(report: StudyReport) -> str:
    *others, last = [metric.title for metric in report.metrics if not metric.lower_is_better]
    names = {metric.name for metric in report.metrics}
    sentences = [
        f"{', '.join(others)} and {last} are in per cent, and higher is better; log loss is in nats, and lower is "
        "better."
    ]
    if "top1" in names:
        sentences.append("mAP is the mean over classes of the average precision of the softmax scores.")
    if "gap" in names:
        sentences.append(
            "GAP@20 is the average precision of one pool with each video's 20 highest scores, mAP the mean over "
            "classes of the average precision of all scores. Hit@1: the highest score is one of a video's labels. "
            "PERR: the share of its labels among as many highest scores. Log loss of sigmoid scores is summed over "
            "classes."
        )
    return " ".join(sentences)


def _describe_share(one: GapShare) -> str:
    if one.share is None or one.low is None or one.high is None:
        return f"not defined in {one.metric.title} ({one.reason})"
    interval = f"{rounded(100 * one.low, 0)} to {rounded(100 * one.high, 0)}"
    return f"{shown_percent(one.share)} in {one.metric.title} (interval {interval})"
