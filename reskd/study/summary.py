"""What the report of a study shows, from its plan, the rows of its runs and their scores."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from reskd.statistics.comparison import arm_intervals, compare_arms, share_of_gap
from reskd.statistics.metrics import METRICS, summarize_arm
from reskd.statistics.predictions import Predictions, join_predictions
from reskd.study.answer_times import KEY as TIME_FROM_FILE
from reskd.study.compared_cells import compared_cells
from reskd.study.config import BarsConfig, ComparisonConfig, StudyConfig
from reskd.study.page.data import FailedRun, ReportArm, ReportBars, ReportComparison, ReportGap, StudyReport, arm_at
from reskd.study.plan import PlannedRun, StudyPlan
from reskd.study.scores import RunScores, read_scores
from reskd.study.work import DIVERGED, DONE, scores_path

Rows = Mapping[str, Mapping[str, Any]]
_SHOWN_VERSIONS = ("reskd", "torch", "timm", "nvidia-dali-cuda120", "av")


# Names of the values of the axes that are neither repeated nor pooled, in the order of the study's axes.
Condition = tuple[str, ...]


def summarize_study(plan: StudyPlan, rows: Rows, *, command: str) -> StudyReport:
    """Compare the arms of a study by what is done so far.

    An arm at one condition (values of the other axes) is one row. A seed counts once all its splits are done, so that
    every arm is compared on the same videos.

    Args:
        rows: by the run's name.
        command: with which the study can be done again.
    """
    summary = _Summary(plan, rows)
    study = plan.study
    arms = [
        arm
        for condition in summary.conditions
        for name in summary.arm_names
        if summary.is_first((name,), condition) and (arm := summary.arm(name, condition))
    ]
    comparisons, gaps, bars = [], [], []
    compared = [(one, summary.compared_conditions(one)) for one in study.compare]
    for condition in summary.conditions:
        comparisons += [
            summary.comparison(one, condition, others[condition]) for one, others in compared if condition in others
        ]
        gaps += [
            gap
            for one in study.recovery
            if summary.is_first((one.student, one.baseline, one.teacher), condition)
            and (gap := summary.gap((one.student, one.baseline, one.teacher), condition)) is not None
        ]
        bars += [summary.bars(one, condition) for one in study.bars if summary.is_first(one.arms, condition)]
    report = StudyReport(
        title=study.title or study.name,
        arms=tuple(arms),
        comparisons=tuple(comparisons),
        gaps=tuple(gaps),
        failures=tuple(summary.failures()),
        bars=tuple(bars),
        axis_title=study.plot_title or (study.plot_over or "").rpartition(".")[2].replace("_", " "),
        commands=(command,),
        environment=_environment(rows),
        notes=_notes(plan),
    )
    return replace(report, curve_title=f"validation {report.metrics[0].title}")


class _Summary:
    def __init__(self, plan: StudyPlan, rows: Rows) -> None:
        self._plan, self._rows = plan, rows
        self._axes = list(plan.study.axes)
        self._others = plan.study.condition_axes
        self.arm_names = list(dict.fromkeys(arm for arm, _ in plan.cells))
        self.conditions = list(dict.fromkeys(plan.condition(cell) for _, cell in plan.cells))
        self._runs = self._group_runs()
        self._touched = {arm: self._find_touched(arm) for arm in self.arm_names}
        self._read: dict[str, RunScores] = {}
        self._known: dict[tuple[str, Condition], dict[int, Predictions]] = {}

    def _find_touched(self, arm: str) -> tuple[int, ...]:
        """Numbers of the axes on which the arm's runs depend: a student's alpha, for one, leaves its teacher alone."""
        runs = {
            condition: {run.name for of_seed in of_seeds.values() for run in of_seed}
            for (name, condition), of_seeds in self._runs.items()
            if name == arm
        }
        return tuple(
            axis
            for axis in range(len(self._others))
            if any(
                one[:axis] + one[axis + 1 :] == other[:axis] + other[axis + 1 :] and runs[one] != runs[other]
                for one, other in itertools.combinations(runs, 2)
            )
        )

    def _touching(self, arm: str, condition: Condition) -> Condition:
        """The values of the axes on which the arm's runs depend."""
        return tuple(condition[axis] for axis in self._touched.get(arm, ()))

    def is_first(self, arms: Sequence[str], condition: Condition) -> bool:
        """Whether no earlier condition has the same runs of all these arms."""
        values = [self._touching(arm, condition) for arm in arms]
        same = [one for one in self.conditions if [self._touching(arm, one) for arm in arms] == values]
        with_runs = [one for one in same if all((arm, one) in self._runs for arm in arms)]
        return condition == (with_runs or same)[0]

    def _group_runs(self) -> dict[tuple[str, Condition], dict[int, list[PlannedRun]]]:
        """(arm, condition) -> seed -> its runs, one a split."""
        repeat, found = self._plan.study.repeat, dict[tuple[str, Condition], dict[int, list[PlannedRun]]]()
        seeds = seeds_of(self._plan.study)
        for (arm, cell), run in self._plan.cells.items():
            seed = seeds[cell[self._axes.index(repeat)]] if repeat else 0
            of_seeds = found.setdefault((arm, self._plan.condition(cell)), {})
            of_seeds.setdefault(seed, []).append(self._plan.runs[run])
        return found

    def _is_done(self, run: PlannedRun) -> bool:
        return run.name in self._rows and self._rows[run.name]["status"] == DONE

    def _scores(self, run: PlannedRun) -> RunScores:
        if run.name not in self._read:
            scores = read_scores(scores_path(run), run, self._plan.study.group_pattern)
            self._read[run.name] = scores
            # The top-1 of an evaluation is that of lists with one label a video.
            if scores.sets_NK is None and "top1" not in self._rows[run.name]["metrics"]:
                raise ValueError(
                    f"{scores_path(run)}: expected the label sets of a list with several labels a video, found none, "
                    "as an earlier version wrote it; delete the folder and start the study again."
                )
        return self._read[run.name]

    def _predictions(self, arm: str, condition: Condition) -> dict[int, Predictions]:
        """Seed -> the answers on the test videos of all splits; seeds that are not whole are left out."""
        if (arm, condition) not in self._known:
            self._known[arm, condition] = {
                seed: join_predictions([self._scores(run).as_predictions(run) for run in of_seed])
                for seed, of_seed in self._runs.get((arm, condition), {}).items()
                if all(map(self._is_done, of_seed))
            }
        return self._known[arm, condition]

    def _predictions_of_new_runs(self, *sides: tuple[str, Condition]) -> list[dict[int, Predictions]]:
        """For each (arm, condition) its predictions, without the seeds at which all have the runs of an earlier seed.

        A seed may leave a stage as it is. One training is no second one because it stands under another seed.
        """
        found = [self._predictions(*side) for side in sides]
        first: dict[tuple[tuple[str, ...], ...], int] = {}
        for seed in sorted(set.intersection(*(set(one) for one in found))):
            runs = tuple(tuple(run.name for run in self._runs[side][seed]) for side in sides)
            first.setdefault(runs, seed)
        return [{seed: one[seed] for seed in first.values()} for one in found]

    def _name(self, arm: str, condition: Condition) -> str:
        return arm_at(arm, self._touching(arm, condition))

    def arm(self, arm: str, condition: Condition) -> ReportArm | None:
        """The row of an arm; None if it has no run at this condition."""
        runs = [run for of_seed in self._runs.get((arm, condition), {}).values() for run in of_seed]
        if not runs:
            return None
        done = [run for run in runs if self._is_done(run)]
        predictions = self._predictions_of_new_runs((arm, condition))[0]
        found = [self._rows[run.name] for run in done]
        speeds = [row["videos_per_second"] for row in found]
        summary = summarize_arm(predictions) if predictions else None
        headline = summary.kinds[0] if summary else METRICS[0]
        times = [row[TIME_FROM_FILE] for row in found if TIME_FROM_FILE in row]
        is_drawn = self._plan.study.plot_over or any(arm in group.arms for group in self._plan.study.bars)
        return ReportArm(
            arm=arm,
            values=self._touching(arm, condition),
            summary=summary,
            num_done=len(done),
            num_planned=len(runs),
            gflops_per_video=2 * found[0]["gmacs_per_video"] if found else None,
            ms_per_video=1000 / max(speeds) if speeds else None,  # what runs beside it only slows it
            ms_from_file=min(times) if times else None,
            intervals=arm_intervals(predictions) if predictions and is_drawn else {},
            axis_values=self._axis_values(arm, condition),
            line=self._line(arm, condition),
            curves=tuple(curve for run in done if (curve := self._scores(run).curves.get(headline.name))),
        )

    def _line(self, arm: str, condition: Condition) -> str:
        """The arm and its values on the axes other than the plotted one: what a line of the chart joins."""
        if (axis := self._plan.study.plot_over) is None:
            return ""
        return arm_at(arm, [condition[other] for other in self._touched[arm] if self._others[other] != axis])

    def _axis_values(self, arm: str, condition: Condition) -> tuple[float, ...]:
        """The values of the plotted axis at which these runs of the arm stand."""
        if (axis := self._plan.study.plot_over) is None:
            return ()
        place, touching = self._others.index(axis), self._touching(arm, condition)
        same = [one for one in self.conditions if (arm, one) in self._runs and self._touching(arm, one) == touching]
        return tuple(dict.fromkeys(float(one[place]) for one in same))

    def compared_conditions(self, one: ComparisonConfig) -> dict[Condition, Condition]:
        """Condition of the arm -> that of the other arm; without those that have the same runs as earlier ones."""
        found: dict[tuple[Condition, Condition], tuple[Condition, Condition]] = {}
        for (_, values), (_, other_values) in compared_cells(self._plan.study, one, self._plan.cells):
            pair = self._plan.condition(values), self._plan.condition(other_values)
            found.setdefault((self._touching(one.arm, pair[0]), self._touching(one.over, pair[1])), pair)
        return dict(found.values())

    def comparison(self, one: ComparisonConfig, condition: Condition, other: Condition) -> ReportComparison:
        sides = ((one.arm, condition), (one.over, other))
        arm, over = self._predictions_of_new_runs(*sides)
        names = [self._name(*side) for side in sides]
        if not arm.keys() & over.keys():
            return ReportComparison(names[0], names[1], one.question, None, "no seed of both is done")
        return ReportComparison(names[0], names[1], one.question, compare_arms(arm, over))

    def gap(self, arms: tuple[str, str, str], condition: Condition) -> ReportGap | None:
        teacher = self._predictions(arms[2], condition)
        found = [*self._predictions_of_new_runs((arms[0], condition), (arms[1], condition)), teacher]
        if not found[0].keys() & found[1].keys() & found[2].keys():
            return None
        names = [self._name(one, condition) for one in arms]
        return ReportGap(names[0], names[1], names[2], share_of_gap(found[0], found[1], found[2]))

    def bars(self, group: BarsConfig, condition: Condition) -> ReportBars:
        title = f"{group.title} ({', '.join(condition)})" if condition and group.title else group.title
        return ReportBars(title or ", ".join(condition), tuple(self._name(arm, condition) for arm in group.arms))

    def failures(self) -> Iterator[FailedRun]:
        for name, run in self._plan.runs.items():
            row = self._rows.get(name)
            if row is not None and row["status"] != DONE:
                kind: Literal["failed", "diverged"] = "diverged" if row["status"] == DIVERGED else "failed"
                yield FailedRun(run.arm, self._where(name), kind, row["reason"])

    def _where(self, name: str) -> str:
        """The values of the axes at which a run stands first; its name if others alone need it."""
        for (_, cell), planned in self._plan.cells.items():
            if planned == name:
                return ", ".join(f"{axis} {value}" for axis, value in zip(self._axes, cell, strict=True))
        return name


def seeds_of(study: StudyConfig) -> dict[str, int]:
    """Each value of the repeated axis as a number, in their order: the seed, so that an error names it, or 1, 2, ...

    Seeds that are not in increasing order are counted too: resamples are drawn in the order of the numbers.
    """
    names = list(study.axes[study.repeat]) if study.repeat else []
    seeds = [int(name) for name in names if name.isascii() and name.isdigit()]
    is_increasing = len(seeds) == len(names) and all(a < b for a, b in itertools.pairwise(seeds))
    return dict(zip(names, seeds if is_increasing else range(1, len(names) + 1), strict=True))


def _environment(rows: Rows) -> dict[str, str]:
    """Of the runs; more than one value of a kind are listed."""
    found: dict[str, dict[str, None]] = {}
    for row in rows.values():
        about = row.get("environment")
        if about:
            commit = about.get("commit")
            shown = {"processor": f"{about['cpu']}, {about['num_cpu_cores']} cores", "Python": about["python"]}
            shown |= {name: about["versions"][name] for name in _SHOWN_VERSIONS if name in about["versions"]}
            if isinstance(commit, Mapping):
                shown["commit"] = f"{commit['hash'][:10]}{' with changes' if commit['dirty'] else ''}"
            for name, value in shown.items():
                found.setdefault(name, {})[value] = None
    return {name: "; ".join(values) for name, values in found.items()}


def _notes(plan: StudyPlan) -> tuple[str, ...]:
    study = plan.study
    notes = [f"The {study.score} list is scored with each run's {study.checkpoint}.pt."]
    if study.pool:
        notes.append(f"The lists of all values of {study.pool} are scored as one: every video counts once.")
    if axes := study.condition_axes:
        notes.append(f"In brackets after an arm are values of the study's axes: {', '.join(axes)}.")
    notes.append(
        "The measured time of the network is that of the fastest run, without reading and decoding. The time from file "
        "to scores is that of one video on one thread of the processor: reading, decoding, the views and the network; "
        "it is the median over 8 videos of the fastest of several times, with the file in memory."
    )
    return tuple(notes)
