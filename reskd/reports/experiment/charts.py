"""The charts of an experiment's report; their titles say what they show."""

from __future__ import annotations

from collections.abc import Mapping

from reskd.pages.bar_charts import Bar, bar_chart
from reskd.pages.line_charts import Points, line_chart
from reskd.pages.svg import Chart
from reskd.reports.answer_pictures import calibration_chart, confusion_chart
from reskd.reports.experiment.findings import Findings
from reskd.reports.experiment.words import cost_ratio, gflops, headline_of
from reskd.statistics.shown import shown_interval, shown_value

# Curves of a training: title, the metric, and the title of y.
_CURVES = (
    ("Task loss of training", "loss/task", "task loss"),
    ("Top-1 of training", "train/top1", "top-1, per cent"),
    ("Top-1 of validation", "val/top1", "top-1, per cent"),
    ("GAP@20 of validation", "val/gap", "GAP@20, per cent"),
    ("mAP of validation", "val/map", "mAP, per cent"),
    ("Log loss of validation", "val/log_loss", "log loss, nats"),
    ("Pixel term, unweighted", "loss/pixel", "pixel term"),
    ("Logit map term, unweighted", "loss/logit_map", "logit map term"),
    ("Embedding term, unweighted", "loss/embedding", "embedding term"),
    ("Prediction term, unweighted", "loss/prediction", "prediction term"),
)
_MOST_CURVES = 6
_SHARES = {"top1", "gap", "map"}  # higher is better; of the others lower is


def bars(findings: Findings) -> list[Chart]:
    """The headline metric of each model, and what it costs; nothing for one model."""
    models = findings.experiment.in_order
    if len(models) < 2:
        return []
    metric = headline_of(findings.experiment.subject)
    shown = [(number, model) for number, model in enumerate(models) if metric.name in model.result["metrics"]]
    rows = []
    for number, model in shown:
        value = model.result["metrics"][metric.name]
        interval = findings.intervals.get(model.name, {}).get(metric.name)
        text = shown_value(metric, value) + (f" ({shown_interval(metric, *interval)})" if interval else "")
        ends = (metric.scale * interval[0], metric.scale * interval[1]) if interval else None
        rows.append(Bar(model.title, metric.scale * value, text, ends, number))
    best = max((model for _, model in shown), key=lambda model: model.result["metrics"][metric.name])
    values = {model.result["metrics"][metric.name] for _, model in shown}
    title = f"{metric.title}: " + (f"{best.called} is highest" if len(values) > 1 else "equal for all")
    flops = [
        Bar(model.title, 2 * model.result["gmacs_per_video"], gflops(model), None, n) for n, model in enumerate(models)
    ]
    return [
        bar_chart(title, rows, x_title=f"{metric.title}, per cent"),
        bar_chart(_cost_title(findings), flops, x_title="GFLOPs a video"),
    ]


def _cost_title(findings: Findings) -> str:
    teacher, subject = findings.experiment.of_role("teacher"), findings.experiment.subject
    if teacher is None or subject is teacher:
        return "GFLOPs a video"
    return f"GFLOPs a video: {subject.called} needs {cost_ratio(subject, teacher)} of the teacher's"


def curves(findings: Findings) -> list[Chart]:
    """Training and validation, a line a model; the titles say who ends best, and whose validation still gets better."""
    charts = []
    for title, name, y_title in _CURVES:
        scale = 100 if name.partition("/")[2] in _SHARES else 1
        lines = {
            model.title: [(epoch, scale * value) for epoch, value in model.curves.get(name, ())]
            for model in findings.experiment.in_order
        }
        if chart := line_chart(title + _finding(name, lines), lines, x_title="epoch", y_title=y_title):
            charts.append(chart)
    return charts[:_MOST_CURVES]


def _finding(name: str, lines: Mapping[str, Points]) -> str:
    values = {title: [value for _, value in points] for title, points in lines.items() if points}
    if not values:
        return ""
    kind, _, metric = name.partition("/")
    better, word = (max, "highest") if metric in _SHARES else (min, "lowest")
    if kind == "val":
        values = {title: one for title, one in values.items() if len(one) > 1}
        rising = [title for title, one in values.items() if better(one) == one[-1] != one[-2]]
        if not values:
            return ""
        return f": still getting better for {', '.join(rising)}" if rising else ": no longer getting better"
    if len(values) == 1:
        (one,) = values.values()
        return f": from {one[0]:.3g} to {one[-1]:.3g}"
    best = better(values, key=lambda title: values[title][-1])
    return f": {word} at the end for {best}"


def confusion(findings: Findings) -> list[Chart]:
    """Of the subject, for videos of one label."""
    answers = findings.answers.get(findings.experiment.subject.name)
    return [confusion_chart(answers)] if answers is not None and answers.has_one_label else []


def calibration(findings: Findings) -> list[Chart]:
    """Of all models; the title is about the subject."""
    answers = {m.title: findings.answers[m.name] for m in findings.experiment.in_order if m.name in findings.answers}
    about = findings.experiment.subject
    return [calibration_chart(answers, about.title)] if about.name in findings.answers else []
