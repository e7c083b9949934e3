"""The tables of an experiment's report."""

from __future__ import annotations

from collections import Counter

from dali_pipes.scan.summary import kind_of
from reskd.choices import METRIC_NAMES
from reskd.pages.tables import Cell, Table
from reskd.reports.experiment.data import Model
from reskd.reports.experiment.findings import Findings, confusions, worst_classes
from reskd.reports.experiment.words import cost_ratio, gflops
from reskd.reports.run_report import METRIC_TITLES, show_metric
from reskd.statistics.shown import shown_cost, shown_difference, shown_interval, shown_value

_MOST_REASONS, _MOST_EXAMPLES = 12, 3


def results(findings: Findings) -> Table:
    """A row for each model: every metric with the interval of the model alone."""
    models = findings.experiment.in_order
    names = [name for name in METRIC_TITLES if any(name in model.result["metrics"] for model in models)]
    if "top5" in names and all(model.scored and len(model.scored.class_names) <= 5 for model in models):
        names.remove("top5")  # always 1
    own = dict.fromkeys(name for model in models for name in model.result["metrics"] if name not in METRIC_NAMES)
    titles = ("model", *(METRIC_TITLES[name] for name in names), *own)
    rows = []
    for model in models:
        cells = [Cell(model.title)]
        for name in names:
            value = model.result["metrics"].get(name)
            interval = findings.intervals.get(model.name, {}).get(name)
            text = "-" if value is None else show_metric(name, value)
            if interval is not None:
                text += f" ({show_metric(name, interval[0])} to {show_metric(name, interval[1])})"
            cells.append(Cell(text, "number"))
        values = [model.result["metrics"].get(name) for name in own]
        cells += [Cell("-" if value is None else f"{value:.4g}", "number") for value in values]
        rows.append(tuple(cells))
    caption = (
        "In brackets the 95 % interval of the model alone, over groups of videos. Models whose intervals overlap "
        "may still differ: the paired differences below tell."
    )
    return Table(caption, titles, tuple(rows))


def differences(findings: Findings) -> Table:
    titles = ("difference", "metric", "verdict", "value", "95 % interval", "standard error")
    rows: list[tuple[Cell, ...]] = []
    for pair in findings.pairs:
        name = f"{pair.first.title} minus {pair.second.title}"
        if pair.comparison is None:
            rows.append((Cell(name), Cell("all"), Cell(f"none: {pair.reason}"), *(Cell("-", "number"),) * 3))
            continue
        for one in pair.comparison.differences:
            numbers = (
                f"{shown_difference(one.metric, one.value)} {one.metric.unit}",
                shown_interval(one.metric, one.low, one.high),
                shown_value(one.metric, one.standard_error),
            )
            cells = (Cell(text, "number") for text in numbers)
            rows.append((Cell(name), Cell(one.metric.title, "whole"), Cell(one.verdict, one.verdict), *cells))
    return Table("On the same videos; the verdict is on the first model.", titles, tuple(rows))


def mcnemar(findings: Findings) -> Table:
    titles = ("pair", "the first alone is right", "the second alone is right", "p, exact and two-sided")
    rows = tuple(
        (
            Cell(f"{pair.first.title} and {pair.second.title}"),
            Cell(f"{found.only_first:,} videos", "number"),
            Cell(f"{found.only_second:,} videos", "number"),
            Cell("below 0.0001" if found.p < 1e-4 else f"{found.p:.4f}", "number"),
        )
        for pair in findings.pairs
        if pair.comparison is not None and (found := pair.comparison.mcnemar) is not None
    )
    return Table("McNemar's test of the best answers.", titles, rows)


def coverage(findings: Findings) -> Table:
    """How many of the listed videos each result is about, and why others are missing."""
    titles = ("model", "listed", "scored", "without a score", "why")
    rows = []
    for model in findings.experiment.in_order:
        found = model.result["coverage"]
        listed, scored = int(found["listed"]), int(found["scored"])
        numbers = (Cell(f"{count:,}", "number") for count in (listed, scored, listed - scored))
        rows.append((Cell(model.title), *numbers, Cell(_why(model) if listed > scored else "")))
    return Table(
        "A video without a readable frame has no score, and no other stands in for it. A cut one has.",
        titles,
        tuple(rows),
    )


def _why(model: Model) -> str:
    named = model.scored.unscored if model.scored else dict(model.result["coverage"].get("named", []))
    kinds = Counter(kind_of(reason) for reason in named.values())
    texts = []
    for kind, count in kinds.most_common(_MOST_REASONS):
        examples = [name for name, reason in named.items() if kind_of(reason) == kind][:_MOST_EXAMPLES]
        texts.append(f"{count} {kind} ({', '.join(examples)}{', ...' if count > len(examples) else ''})")
    return "; ".join(texts) or "not recorded"


def costs(findings: Findings) -> Table:
    titles = ("model", "input", "GFLOPs a video", "of the teacher's", "parameters", "network, ms a video")
    teacher, rows = findings.experiment.of_role("teacher"), []
    for model in findings.experiment.in_order:
        result = model.result
        numbers = (
            gflops(model),
            cost_ratio(model, teacher),
            f"{result['num_parameters'] / 1e6:.2f} M" if "num_parameters" in result else "-",
            shown_cost(1000 / result["videos_per_second"] if result["videos_per_second"] else None),
        )
        rows.append((Cell(model.title), Cell(_input(model), "whole"), *(Cell(text, "number") for text in numbers)))
    return Table("What one video costs the network, with all its test views.", titles, tuple(rows))


def _input(model: Model) -> str:
    shape = model.result.get("input_shape")
    if not shape:
        return "-"
    size = " x ".join(map(str, shape[1:][::-1]))
    return f"{shape[0]} frames of {size}{' pixels' if len(shape) == 3 else ' features'}"


def classes(findings: Findings) -> Table:
    shown = [model.title for model in findings.experiment.in_order if model.name in findings.answers]
    titles = ("class", "videos", *(f"found by {title}, %" for title in shown), "most often taken for", "times")
    rows = tuple(
        (
            Cell(one.name),
            Cell(f"{one.num_videos:,}", "number"),
            *(Cell("-" if share != share else f"{100 * share:.0f}", "number") for share in one.recall),
            Cell(one.taken_for),
            Cell(f"{one.times:,}", "number"),
        )
        for one in worst_classes(findings)
    )
    caption = f"Classes of which {findings.experiment.subject.called} finds the least; all are in classes.csv."
    return Table(caption, titles, rows)


def confused(findings: Findings) -> Table:
    answers = findings.answers.get(findings.experiment.subject.name)
    rows = tuple(
        (
            Cell(one.name),
            Cell(one.taken_for),
            Cell(f"{one.times:,} of {one.num_videos:,}", "number"),
            Cell(f"{100 * one.times / one.num_videos:.0f} %", "number"),
        )
        for one in (confusions(answers) if answers is not None else [])
    )
    return Table(
        f"What {findings.experiment.subject.called} confuses most often.",
        ("class", "taken for", "videos", "share"),
        rows,
    )


def machine(findings: Findings) -> Table:
    """Of the evaluations; more than one value of a kind are listed."""
    found: dict[str, dict[str, None]] = {}
    for model in findings.experiment.models:
        about = model.result.get("environment") or {}
        versions, commit = about.get("versions") or {}, about.get("commit")
        shown = {"processor": about.get("cpu"), "Python": about.get("python")}
        shown |= {"GPU": ", ".join((about.get("gpu") or {}).get("names", []))}
        shown |= {name: versions.get(name) for name in ("reskd", "torch", "timm", "av")}
        if isinstance(commit, dict):
            shown["commit"] = f"{commit['hash'][:10]}{' with changes' if commit['dirty'] else ''}"
        for name, value in shown.items():
            if value:
                found.setdefault(name, {})[str(value)] = None
    rows = tuple((Cell(name), Cell("; ".join(values))) for name, values in found.items())
    return Table("Where the models were evaluated.", ("what", "value"), rows)


def protocols(findings: Findings) -> Table:
    titles = ("model", "how it saw the videos", "checkpoint", "steps")
    rows = tuple(
        (
            Cell(model.title),
            Cell(str(model.result["protocol"])),
            Cell(f"{model.result.get('checkpoint', '-')} of {model.name}"),
            Cell(f"{model.result['num_steps']:,}" if "num_steps" in model.result else "-", "number"),
        )
        for model in findings.experiment.in_order
    )
    chosen_by_it = any(
        model.result.get("split") == "val" and str(model.result.get("checkpoint", "")).startswith("best")
        for model in findings.experiment.models
    )
    caption = "best.pt was chosen by these videos." if chosen_by_it else "No checkpoint was chosen by these videos."
    return Table(caption, titles, rows)
