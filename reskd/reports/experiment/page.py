"""The report of an experiment: one HTML file that loads nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dali_pipes.atomic_files import atomic_write_text
from reskd.experiment.config import ExperimentConfig
from reskd.pages.html import (
    MAX_PAGE_BYTES,
    Thumbnail,
    charts,
    commands,
    document,
    lead,
    listed,
    section,
    table,
    thumbnails,
)
from reskd.pages.svg import element, escaped
from reskd.pages.tables import Table
from reskd.reports.experiment import charts as drawn
from reskd.reports.experiment import tables
from reskd.reports.experiment.collect import EvaluatedFile, experiment_of_stages
from reskd.reports.experiment.data import Experiment
from reskd.reports.experiment.findings import Findings, certain_mistakes, find
from reskd.reports.experiment.mistakes import mistake_thumbnails
from reskd.reports.experiment.words import calibration_sentence, lead_sentences, reading_notes, title_of


def write_experiment_report(experiment: Experiment, path: Path) -> Path:
    """Write the page, below ``MAX_PAGE_BYTES``, and return its path."""
    atomic_write_text(path, render(experiment))
    return path


def write_stage_report(stages: Sequence[ExperimentConfig], evaluated: EvaluatedFile, *, source: str) -> Path:
    """Write the report of the stages of a file that are evaluated so far, after one of them was; return its path.

    It lies in runs/NAME for a file NAME with stages, and beside the result for a single experiment, or a checkpoint of
    another folder. Its name ends as that of the result: report_val_best_10x3.html.

    Args:
        source: the file, as given on the command line.
    """
    own = next(stage for stage in stages if stage.name == evaluated.run)
    base = own.name.rpartition(".")[0] if len(stages) > 1 else own.name
    is_own = evaluated.path.parent.resolve() == own.folder.resolve()
    folder = own.runs / base if is_own and len(stages) > 1 else evaluated.path.parent
    folder.mkdir(parents=True, exist_ok=True)
    experiment = experiment_of_stages(stages, evaluated, title=base, source=source)
    return write_experiment_report(experiment, folder / f"report{_ending(evaluated.path)}.html")


def _ending(result: Path) -> str:
    """``_val_best_10x3`` of evaluation_val_student_best_10x3.json; what is test, student or last is not named."""
    split, _, *rest = result.stem.split("_")[1:]
    parts = [split, *rest]
    usual = ("test", "last")
    return "".join(f"_{part}" for place, part in enumerate(parts) if place > 1 or part != usual[place])


def render(experiment: Experiment) -> str:
    """The whole page; pictures that would make it too large are left out."""
    findings = find(experiment)
    subject = experiment.subject
    pictures = mistake_thumbnails(certain_mistakes(findings), subject)
    page = document(title_of(experiment), _sections(findings, pictures))
    while len(page.encode()) > MAX_PAGE_BYTES and pictures:
        pictures = pictures[:-1]
        page = document(title_of(experiment), _sections(findings, pictures))
    return page


def _sections(findings: Findings, pictures: list[Thumbnail]) -> list[str]:
    experiment = findings.experiment
    answers = findings.answers.get(experiment.subject.name)
    found = [
        element("h1", escaped(title_of(experiment))),
        lead(lead_sentences(findings), answer=True),
        *_todo(experiment),
        section("Results", table(tables.results(findings)), charts(drawn.bars(findings))),
        *_filled("Differences on the same videos", tables.differences(findings), tables.mcnemar(findings)),
        section("Videos", table(tables.coverage(findings))),
        section("Costs", table(tables.costs(findings))),
        section("Training", charts(drawn.curves(findings)) or element("p", "No curves were found.")),
        *_filled("Worst classes", tables.classes(findings)),
    ]
    if answers is not None and answers.has_one_label:
        found.append(section("Confusions", charts(drawn.confusion(findings)), *_tables(tables.confused(findings))))
    if pictures:
        of = f"The wrong answers of {experiment.subject.called} with the highest scores. They show what it cannot tell "
        hint = element("p", escaped(f"{of}apart, and labels that are wrong."))
        found.append(section("The most certain mistakes", hint, thumbnails(pictures)))
    if calibration := drawn.calibration(findings):
        explained = element("p", escaped(calibration_sentence(findings)))
        found.append(section("Are certain answers right?", charts(calibration), explained))
    found += [
        *_filled("How the videos were seen", tables.protocols(findings)),
        section("How to read this", listed(reading_notes(findings))),
    ]
    if lines := _commands(experiment):
        found.append(section("Commands", commands(lines)))
    return [*found, *_filled("Machine", tables.machine(findings))]


def _todo(experiment: Experiment) -> list[str]:
    parts = [listed(experiment.left_out)] if experiment.left_out else []
    if experiment.todo:
        reasons = listed([f"{why}." for why in experiment.todo])
        parts += [reasons, commands(list(dict.fromkeys(experiment.todo.values())))]
    return [section("Not in this report", *parts)] if parts else []


def _tables(*shown: Table) -> list[str]:
    return [table(one) for one in shown if one.rows]


def _filled(heading: str, *shown: Table) -> list[str]:
    """A section of tables, if any has a row."""
    parts = _tables(*shown)
    return [section(heading, *parts)] if parts else []


def _commands(experiment: Experiment) -> list[str]:
    found = [experiment.training] if experiment.training else []
    return [*found, *(str(model.result["command"]) for model in experiment.in_order if "command" in model.result)]
