"""Writes the study's rows as tables and sentences: mean and spread over seeds, gaps to the baseline, orders that hold.

The spread is the standard deviation over seeds (n - 1). The gap of a distilled student is taken seed by seed, against
the baseline of the same seed, which started from the same weights; its interval is Student's for the mean of the
differences (95 %). Every metric of a row is judged. The rows hold no scores of single videos, so the intervals say
nothing about other videos.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

Row = Mapping[str, str]
_RUN = ("data", "family", "mode", "selection", "k", "seed")
METRIC_NAMES = {
    "gap": "GAP@20",
    "map": "mAP",
    "top1": "top-1",
    "hit1": "Hit@1",
    "perr": "PERR",
    "loss": "training loss",
}
_TABLES = ("gap", "map")
_LOSS = "loss"  # the last logged task loss of the training: in nats, and lower is better
# By the number of seeds: Student's t of 95 %, two-sided.
_STUDENT_T = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}
_DISTILLED = ("serial", "parallel")
_ORDER = ("uniform", "random", "first_middle_last", "middle", "first", "last")


class Summary(NamedTuple):
    """Mean and spread of some values; ``spread`` is their standard deviation, None for a single one."""

    mean: float
    spread: float | None

    @staticmethod
    def of(values: Sequence[float]) -> Summary:
        return Summary(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)

    def __str__(self) -> str:
        return f"{100 * self.mean:.1f}{self._spread}"

    @property
    def _spread(self) -> str:
        return "" if self.spread is None else f" +- {100 * self.spread:.1f}"


class Gap(NamedTuple):
    """Differences of runs, distilled minus uniform without a teacher, a value a seed."""

    of_seeds: tuple[float, ...]

    @property
    def interval(self) -> tuple[float, float] | None:
        """Of their mean; None for one seed, and for more than Student's table has."""
        number = len(self.of_seeds)
        if number not in _STUDENT_T:
            return None
        half = _STUDENT_T[number] * statistics.stdev(self.of_seeds) / number**0.5
        mean = statistics.fmean(self.of_seeds)
        return mean - half, mean + half

    def shown(self, metric: str) -> str:
        scale, digits = (1, 2) if metric == _LOSS else (100, 1)
        # Adding 0 takes the sign from -0.
        text, *ends = (
            f"{round(scale * value, digits) + 0.0:+.{digits}f}"
            for value in (statistics.fmean(self.of_seeds), *(self.interval or ()))
        )
        return f"{text} ({ends[0]} to {ends[1]})" if ends else text

    def num_better(self, metric: str) -> int:
        return sum((value < 0) if metric == _LOSS else (value > 0) for value in self.of_seeds)


class Results:
    """The rows of one data set and family, by kind of run.

    Args:
        rows: of the study's CSV; if a run was repeated, its last row counts.

    Raises:
        ValueError: as check_rows.
    """

    def __init__(self, rows: Sequence[Row], metric: str) -> None:
        check_rows(rows, _RUN)
        self.metric = metric
        self._values: dict[tuple[str, str, str], dict[str, float]] = defaultdict(dict)
        for row in rows:
            self._values[row["mode"], row["selection"], row["k"]][row["seed"]] = float(row[metric])
        self.ks = sorted({int(row["k"]) for row in rows if row["k"] != "all"})
        self.selections = [name for name in _ORDER if any(key[:2] == ("baseline", name) for key in self._values)]
        self.modes = [mode for mode in _DISTILLED if any(key[0] == mode for key in self._values)]

    def of(self, mode: str, selection: str, k: int | str) -> Summary | None:
        values = self._values.get((mode, selection, str(k)))
        return Summary.of(list(values.values())) if values else None

    def gap(self, mode: str, k: int) -> Gap | None:
        """Distilled minus uniform without a teacher, over their common seeds."""
        mine = self._values.get((mode, "uniform", str(k)), {})
        theirs = self._values.get(("baseline", "uniform", str(k)), {})
        shared = sorted(mine.keys() & theirs.keys())
        return Gap(tuple(mine[seed] - theirs[seed] for seed in shared)) if shared else None


def check_rows(rows: Sequence[Row], columns: Sequence[str]) -> None:
    """Raises ValueError if rows with equal ``columns`` are of different settings."""
    first: dict[tuple[str, ...], Row] = {}
    for row in rows:
        other = first.setdefault(tuple(row[name] for name in columns), row)
        if row["config_hash"] != other["config_hash"]:
            run = ", ".join(f"{name} {row[name]}" for name in columns)
            found = " and ".join(
                f"{one['config_hash']}{f' of {epochs} epochs' if (epochs := one.get('epochs')) else ''}"
                for one in (other, row)
            )
            raise ValueError(
                f"expected one config per run, found config_hash {found} for {run}; these results cannot be compared: "
                "keep the rows of each config in a CSV of its own and report them separately."
            )


def markdown(rows: Sequence[Row]) -> str:
    """All tables and sentences, a section per data set and family."""
    sections = []
    for data, family in dict.fromkeys((row["data"], row["family"]) for row in rows):
        own = [row for row in rows if (row["data"], row["family"]) == (data, family)]
        for metric in _TABLES:
            results = Results(own, metric)
            heading = f"### {data}, {family}: {METRIC_NAMES[metric]}"
            sections += [heading, table(results), describe_orders(results)]
        judged = [Results(own, metric) for metric in metrics_of_rows(own)]
        sections += [f"### {data}, {family}: distilled minus uniform, all metrics", gap_table(judged)]
    return "\n\n".join(sections) + "\n"


def metrics_of_rows(rows: Sequence[Row]) -> list[str]:
    """The metrics that all rows have. Of one label a video Hit@1 and PERR are the top-1, which stands for them."""
    found = [name for name in METRIC_NAMES if all(row.get(name) for row in rows)]
    return [name for name in found if "top1" not in found or name not in ("hit1", "perr")]


def table(results: Results) -> str:
    """In per cent: a line for the teacher, each baseline and each mode; a column for each k."""
    lines = [["", *(f"k={k}" for k in results.ks)]]
    teacher = results.of("teacher", "uniform", "all")
    lines.append(["teacher, all frames", *[""] * (len(results.ks) - 1), _cell(teacher)])
    for selection in results.selections:
        cells = [_cell(results.of("baseline", selection, k)) for k in results.ks]
        lines.append([f"{selection.replace('_', '-')}, no teacher", *cells])
    for mode in results.modes:
        lines.append([f"{mode}, uniform", *(_cell(results.of(mode, "uniform", k)) for k in results.ks)])
    return as_table(lines)


def gap_table(judged: Sequence[Results]) -> str:
    """Distilled minus uniform without a teacher, a line a mode and metric: in points, or in nats; with intervals."""
    lines = [["distilled minus uniform", *(f"k={k}" for k in judged[0].ks), "runs better"]]
    for mode in judged[0].modes:
        for results in judged:
            gaps = [results.gap(mode, k) for k in results.ks]
            cells = [gap.shown(results.metric) if gap else "" for gap in gaps]
            num_better = sum(gap.num_better(results.metric) for gap in gaps if gap)
            num_runs = sum(len(gap.of_seeds) for gap in gaps if gap)
            lines.append([f"{mode}, {METRIC_NAMES[results.metric]}", *cells, f"{num_better} of {num_runs}"])
    return as_table(lines)


def as_table(lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first line holds the columns' names."""
    texts = [f"| {' | '.join(cells)} |" for cells in lines]
    return "\n".join([texts[0], "|" + "---|" * len(lines[0]), *texts[1:]])


def _cell(summary: Summary | None) -> str:
    return str(summary) if summary else ""


def describe_orders(results: Results) -> str:
    """For each expected order, the k at which it holds by the means over seeds, and those at which it does not."""
    pairs = [("uniform", "random"), ("random", "first"), ("random", "last")]
    lines = [_order(results, f"{a} > {b}", ("baseline", a), ("baseline", b), strict=True) for a, b in pairs]
    lines += [
        _order(
            results, f"{mode} >= uniform without a teacher", (mode, "uniform"), ("baseline", "uniform"), strict=False
        )
        for mode in results.modes
    ]
    return "\n".join(f"- {line}" for line in lines if line)


def _order(results: Results, name: str, above: tuple[str, str], below: tuple[str, str], *, strict: bool) -> str:
    found = {k: (results.of(*above, k), results.of(*below, k)) for k in results.ks}
    known = {k: (a.mean, b.mean) for k, (a, b) in found.items() if a and b}
    if not known:
        return ""
    wrong = {k: a - b for k, (a, b) in known.items() if a < b or (strict and a == b)}
    if not wrong:
        return f"{name}: holds at every k ({', '.join(map(str, known))})"
    where = ", ".join(f"k={k} ({100 * difference:+.1f})" for k, difference in wrong.items())
    return f"{name}: **does not come out** at {where}; it holds at {len(known) - len(wrong)} of {len(known)}"
