"""The sentences of an experiment's report: first whether the student is better than the baseline."""

from __future__ import annotations

from reskd.reports.experiment.data import Experiment, Model
from reskd.reports.experiment.findings import Findings, Pair
from reskd.statistics.comparison import Difference
from reskd.statistics.metrics import Metric
from reskd.statistics.shown import counted, rounded, shown_cost, shown_interval, shown_value

_HEADLINES = {  # in the order of preference
    "gap": Metric("gap", "GAP@20", False, 100, "points", 1),  # of several labels, or sigmoid scores
    "top1": Metric("top1", "top-1", False, 100, "points", 1),
    "map": Metric("map", "mAP", False, 100, "points", 1),
}
_VERDICTS = {"better": "Better than this baseline", "worse": "Worse than this baseline", "undecided": "Undecided"}


def headline_of(model: Model) -> Metric:
    """The metric that the first sentence is about."""
    return next(metric for name, metric in _HEADLINES.items() if name in model.result["metrics"])


def lead_sentences(findings: Findings) -> list[str]:
    """The first paragraph: against the baseline, against the teacher, and what the numbers cannot say."""
    experiment = findings.experiment
    student, baseline, teacher = (experiment.of_role(role) for role in ("student", "baseline", "teacher"))
    if student is None:
        return _of_plain_models(findings)
    sentences = [_against_baseline(findings, student, baseline, teacher)]
    if teacher is not None:
        sentences.append(_against_teacher(findings, student, baseline, teacher))
    if any(pair.comparison for pair in findings.pairs):
        sentences.append(
            "Each network was trained once: trainings with other seeds may differ by more than these intervals, which "
            "are about the videos alone. reskd study compares several seeds: docs/studies.md has a file for that."
        )
    return sentences


def _against_baseline(findings: Findings, student: Model, baseline: Model | None, teacher: Model | None) -> str:
    metric = headline_of(student)
    says = f"the student{_sees(student)} {_reaches(student, metric)}"
    cost = _at_cost(student, teacher)
    if baseline is None:
        return f"Not known yet: {says}{cost}, but no baseline to compare it with is evaluated on these videos."
    pair = findings.pair(student, baseline)
    if pair is None or pair.comparison is None:
        points = metric.scale * (student.result["metrics"][metric.name] - baseline.result["metrics"][metric.name])
        return f"Not known: {says}, {_points(points, metric)} the baseline{cost}, without an interval{_reason(pair)}."
    one = pair.comparison.of(metric.name)
    told = f"{says}, {_difference(one)} the baseline ({_interval(pair, one)}){cost}"
    if not pair.comparison.has_enough_groups:
        groups = counted(pair.comparison.num_groups, "group")
        return f"Undecided: {told}; {groups} of videos are too few to decide anything."
    if one.low == one.high == 0:
        return (
            f"Undecided: {told}; both answer the same of these videos right: more or harder ones may tell them apart."
        )
    return f"{_VERDICTS[one.verdict]}: {told}{'; the interval holds 0' if one.verdict == 'undecided' else ''}."


def _reason(pair: Pair | None) -> str:
    return f" ({pair.reason})" if pair and pair.reason else ""


def _sees(model: Model) -> str:
    shape = model.result.get("input_shape")
    if not shape:
        return ""
    frames = counted(int(shape[0]), "frame")
    return f" ({shape[2]} x {shape[1]} pixels, {frames})" if len(shape) == 3 else f" ({frames})"


def _reaches(model: Model, metric: Metric) -> str:
    number, value = model.result["coverage"]["scored"], model.result["metrics"][metric.name]
    if metric.name == "top1":
        return f"answers {shown_value(metric, value)} % of {counted(number, 'video')} right"
    return f"reaches {shown_value(metric, value)} {metric.title} on {counted(number, 'video')}"


def _difference(one: Difference) -> str:
    return _points(one.metric.scale * one.value, one.metric)


def _points(points: float, metric: Metric) -> str:
    """Such as "4.1 points more than"."""
    if float(rounded(points, metric.digits)) == 0:
        return "as much as"
    return f"{rounded(abs(points), metric.digits)} points {'more' if points > 0 else 'less'} than"


def _interval(pair: Pair, one: Difference) -> str:
    assert pair.comparison is not None
    return f"{100 * pair.comparison.confidence:g} % interval {shown_interval(one.metric, one.low, one.high)}"


def _at_cost(student: Model, teacher: Model | None) -> str:
    own = float(student.result["gmacs_per_video"])
    if teacher is None or own <= 0:
        return ""
    ratio = float(teacher.result["gmacs_per_video"]) / own
    if ratio < 1.05:
        return "" if ratio > 0.95 else f", at {1 / ratio:.2g} times the teacher's operations"
    return (
        f", at 1/{ratio:.2g} of the teacher's operations"
        if ratio < 99.5
        else f", at 1/{ratio:.0f} of the teacher's operations"
    )


def _against_teacher(findings: Findings, student: Model, baseline: Model | None, teacher: Model) -> str:
    metric = headline_of(student)
    if metric.name not in teacher.result["metrics"]:
        return f"The teacher has other metrics: {', '.join(teacher.result['metrics'])}."
    text = f"The teacher{_sees(teacher)} {_reaches(teacher, metric)}"
    pair = findings.pair(student, teacher)
    if pair is None or pair.comparison is None:
        return f"{text}."
    one = pair.comparison.of(metric.name)
    text += f"; the student {'answers ' if metric.name == 'top1' else 'reaches '}{_difference(one)} it"
    text += f" ({_interval(pair, one)})."
    gap = findings.pair(teacher, baseline)
    if gap and gap.comparison and gap.comparison.of(metric.name).verdict == "better":
        between = findings.pair(student, baseline)
        assert between is not None and between.comparison is not None
        whole, part = (metric.scale * found.of(metric.name).value for found in (gap.comparison, between.comparison))
        text += (
            f" Of the {rounded(whole, 1)} points between baseline and teacher, the student recovers {rounded(part, 1)}."
        )
    return text


def _of_plain_models(findings: Findings) -> list[str]:
    """Of models without a teacher: each against the last."""
    experiment, subject = findings.experiment, findings.experiment.subject
    metric = headline_of(subject)
    interval = findings.intervals.get(subject.name, {}).get(metric.name)
    shown = f" (95 % interval {shown_interval(metric, *interval)})" if interval else ""
    sentences = [f"{subject.name}{_sees(subject)} {_reaches(subject, metric)}{shown}."]
    for pair in findings.pairs:
        if pair.comparison is None:
            sentences.append(f"{pair.first.name} cannot be compared with {pair.second.name}: {pair.reason}.")
            continue
        one = pair.comparison.of(metric.name)
        verdict = f"{one.verdict}: {_difference(one)} {pair.second.name} in {metric.title} ({_interval(pair, one)})"
        sentences.append(f"{pair.first.name} is {verdict}.")
    if len(experiment.models) == 1:
        sentences.append("It has no teacher and nothing to compare it with.")
    return sentences


def calibration_sentence(findings: Findings) -> str:
    return (
        "A mark stands for the answers of one range of scores; it is larger where there are more of them. Below the "
        "diagonal a model is more certain than right. The calibration error is the mean distance from the diagonal "
        "(Guo et al. 2017, 15 ranges)."
    )


def reading_notes(findings: Findings) -> list[str]:
    """How the numbers are made, and what they do not say."""
    notes = [
        "top-1, top-5, mAP and mean class accuracy are in per cent, and higher is better; log loss is in nats, and "
        "lower is better. mAP is the mean over classes of the average precision.",
        "GFLOPs: a multiply-add counts as two operations; of one video with all its test views. Milliseconds are those "
        "of the network alone, without reading and decoding, in batches, on the machine named below.",
    ]
    compared = next((pair.comparison for pair in findings.pairs if pair.comparison), None)
    if compared is not None:
        notes += [
            f"An interval is the percentile bootstrap over groups of videos ({compared.num_resamples:,} resamples of "
            f"{counted(compared.num_groups, 'group')}; videos of one group, such as one recording, stay together). A "
            "difference is paired: both models answer the same videos, and see the same resamples.",
            "McNemar's exact test counts the videos that one model alone answers right. It takes videos as "
            "independent: where groups have several videos, its p is too small, and the interval is to be believed.",
            "The verdicts are not corrected for their number: of 20 comparisons of equal models about one is better or "
            "worse by chance.",
        ]
    return notes


def cost_ratio(model: Model, teacher: Model | None) -> str:
    """Operations as a share of the teacher's."""
    if teacher is None or not teacher.result["gmacs_per_video"]:
        return "-"
    return f"{100 * model.result['gmacs_per_video'] / teacher.result['gmacs_per_video']:.3g} %"


def title_of(experiment: Experiment) -> str:
    return f"{experiment.title}: report"


def gflops(model: Model) -> str:
    return shown_cost(2 * float(model.result["gmacs_per_video"]))
