"""What the answers of an experiment's models say: pairs compared, classes, confusions, certain mistakes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from reskd.reports.answer_pictures import confusion_of
from reskd.reports.answers import Answers
from reskd.reports.experiment.data import Experiment, Model
from reskd.statistics.pairs import PairedComparison, PairedModels
from reskd.statistics.predictions import Predictions, check_same_videos

Intervals = dict[str, tuple[float, float]]


class Pair(NamedTuple):
    """``first`` minus ``second``; where ``comparison`` is None, ``reason`` says why there is none."""

    first: Model
    second: Model
    comparison: PairedComparison | None
    reason: str = ""


class ClassFinding(NamedTuple):
    """One class: its videos, the share that each model finds, and what the subject takes it for most often."""

    name: str
    num_videos: int
    recall: tuple[float, ...]
    taken_for: str
    times: int


class Confusion(NamedTuple):
    """``times`` of ``num_videos`` videos of a class are taken for another."""

    name: str
    taken_for: str
    times: int
    num_videos: int


class Mistake(NamedTuple):
    """A wrong answer. ``others``: (title of another model, its answer, whether that is right)."""

    video: str
    labels: tuple[str, ...]
    answer: str
    score: float
    others: tuple[tuple[str, str, bool], ...]


@dataclass(frozen=True)
class Findings:
    """What a report says; ``answers`` and ``intervals`` are by the model's name."""

    experiment: Experiment
    pairs: tuple[Pair, ...]
    intervals: dict[str, Intervals]
    answers: dict[str, Answers]

    def pair(self, first: Model | None, second: Model | None) -> Pair | None:
        return next((one for one in self.pairs if one.first is first and one.second is second), None)


def find(experiment: Experiment) -> Findings:
    """Compare the models: the student with the baseline and the teacher, the teacher with the baseline; of others, the
    last with each.
    """
    baseline, student, teacher = (experiment.of_role(role) for role in ("baseline", "student", "teacher"))
    wanted = [(student, baseline), (student, teacher), (teacher, baseline)]
    subject = experiment.subject
    wanted += [(subject, one) for one in experiment.models if one.role == "other" and one is not subject]
    comparable, reasons = _comparable(experiment)
    pairs = tuple(_compare(first, second, comparable, reasons) for first, second in wanted if first and second)
    intervals = {name: comparable.intervals(name) for name in comparable.names} if comparable else {}
    answers = {model.name: found for model in experiment.models if (found := model.answers) is not None}
    return Findings(experiment, pairs, intervals, answers)


def _comparable(experiment: Experiment) -> tuple[PairedModels | None, dict[str, str]]:
    """The models with scores of the subject's videos; name of another -> why it cannot be compared."""
    reasons: dict[str, str] = {}
    chosen: dict[str, Predictions] = {}
    subject = experiment.subject
    for model in [subject, *(one for one in experiment.models if one is not subject)]:
        if model.scored is None:
            reasons[model.name] = (
                f"{model.name}: an earlier version or a long list: the scores of each video were not kept"
            )
            continue
        predictions = model.scored.predictions.sorted_by_video()
        try:
            if chosen:
                name, first = next(iter(chosen.items()))
                check_same_videos(first, predictions, names=(name, model.name))
            chosen[model.name] = predictions
        except ValueError as error:
            reasons[model.name] = str(error)
    return PairedModels(chosen) if chosen else None, reasons


def _compare(first: Model, second: Model, comparable: PairedModels | None, reasons: Mapping[str, str]) -> Pair:
    found = [reasons[model.name] for model in (first, second) if model.name in reasons]
    if found or comparable is None:
        return Pair(first, second, None, "; ".join(found))
    return Pair(first, second, comparable.compare(first.name, second.name))


def worst_classes(findings: Findings, most: int = 15) -> list[ClassFinding]:
    """The classes of which the subject finds the smallest share; those found in whole are left out."""
    subject = findings.answers.get(findings.experiment.subject.name)
    if subject is None:
        return []
    top_N = subject.first_NA[:, 0]
    is_right_N = subject.right_NK[np.arange(len(top_N)), top_N]
    shares = [recall_of(findings.answers[m.name]) for m in findings.experiment.in_order if m.name in findings.answers]
    found = []
    counts_K = subject.right_NK.sum(0)
    for k in np.flatnonzero(counts_K).tolist():
        wrong_K = np.bincount(top_N[subject.right_NK[:, k] & ~is_right_N], minlength=len(counts_K))
        worst = int(wrong_K.argmax())
        taken = (subject.class_names[worst], int(wrong_K[worst])) if wrong_K.any() else ("", 0)
        found.append(
            ClassFinding(
                subject.class_names[k], int(counts_K[k]), tuple(float(share_K[k]) for share_K in shares), *taken
            )
        )
    place = [m.name for m in findings.experiment.in_order if m.name in findings.answers].index(
        findings.experiment.subject.name
    )
    found = [one for one in found if one.recall[place] < 1]
    return sorted(found, key=lambda one: (one.recall[place], -one.num_videos))[:most]


def recall_of(answers: Answers) -> np.ndarray:
    """float64 (K,): the share of each class's videos whose best answer it is; NaN without a video."""
    top_N = answers.first_NA[:, 0]
    hits_K = np.bincount(
        top_N[answers.right_NK[np.arange(len(top_N)), top_N]], minlength=len(answers.class_names)
    ).astype(np.float64)
    counts_K = answers.right_NK.sum(0)
    return np.where(counts_K > 0, hits_K / np.maximum(counts_K, 1), np.nan)


def confusions(answers: Answers, most: int = 12) -> list[Confusion]:
    """The most frequent ones, for videos of one label."""
    if not answers.has_one_label or not len(answers.videos):
        return []
    counts_KK = confusion_of(answers)
    wrong_KK = counts_KK - np.diag(counts_KK.diagonal())
    names, totals_K = answers.class_names, counts_KK.sum(1)
    flat = np.argsort(-wrong_KK, axis=None, kind="stable")[:most]
    pairs = [divmod(int(place), len(names)) for place in flat]
    return [Confusion(names[k], names[j], int(wrong_KK[k, j]), int(totals_K[k])) for k, j in pairs if wrong_KK[k, j]]


def certain_mistakes(findings: Findings, most: int = 12) -> list[Mistake]:
    """The subject's wrong answers with the highest scores, and what the other models answer."""
    experiment = findings.experiment
    answers = findings.answers.get(experiment.subject.name)
    if answers is None:
        return []
    top_N = answers.first_NA[:, 0]
    rows = np.arange(len(top_N))
    score_N, right_N = answers.scores_NK[rows, top_N], answers.right_NK[rows, top_N]
    chosen = [row for row in np.argsort(-score_N, kind="stable").tolist() if not right_N[row]][:most]
    others = [
        (model.title, found, {video: row for row, video in enumerate(found.videos)})
        for model in experiment.in_order
        if model is not experiment.subject and (found := findings.answers.get(model.name)) is not None
    ]
    mistakes = []
    for row in chosen:
        video = answers.videos[row]
        theirs = tuple(_answer(title, found, places[video]) for title, found, places in others if video in places)
        labels = tuple(answers.class_names[k] for k in np.flatnonzero(answers.right_NK[row]).tolist())
        mistakes.append(Mistake(video, labels, answers.class_names[int(top_N[row])], float(score_N[row]), theirs))
    return mistakes


def _answer(title: str, answers: Answers, row: int) -> tuple[str, str, bool]:
    best = int(answers.scores_NK[row].argmax())
    return title, answers.class_names[best], bool(answers.right_NK[row, best])
