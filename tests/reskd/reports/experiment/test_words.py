from __future__ import annotations

import re
from dataclasses import replace

import pytest

from reskd.reports.experiment.data import Experiment
from reskd.reports.experiment.findings import find
from reskd.reports.experiment.words import lead_sentences
from tests.reskd.reports.experiment.models import experiment, model, predictions


def first(shown: Experiment) -> str:
    return lead_sentences(find(shown))[0]


@pytest.mark.parametrize(
    ("student", "baseline", "answer", "points"),
    [(4.0, 0.5, "Better than this baseline: ", "more than"), (0.5, 4.0, "Worse than this baseline: ", "less than")],
)
def test_the_first_sentence_says_whether_the_student_is_better(
    student: float, baseline: float, answer: str, points: str
) -> None:
    sentence = first(experiment(student, baseline))
    assert re.fullmatch(
        rf"{answer}the student \(112 x 112 pixels, 4 frames\) answers [\d.]+ % of 60 videos right, [\d.]+ points "
        rf"{points} the baseline \(95 % interval -?[\d.]+ to -?[\d.]+\), at 1/8 of the teacher's operations\.",
        sentence,
    )


def test_an_interval_that_holds_0_is_undecided() -> None:
    sentence = first(experiment(2.0, 1.6))
    assert sentence.startswith("Undecided: the student") and sentence.endswith("; the interval holds 0.")


def test_few_groups_decide_nothing() -> None:
    sentence = first(experiment(9.0, -9.0, group_size=15))
    assert sentence.startswith("Undecided: ") and "; 4 groups of videos are too few to decide anything." in sentence


def test_without_a_baseline_nothing_is_known() -> None:
    sentence = first(experiment(with_roles=("student", "teacher")))
    assert sentence.startswith("Not known yet: the student")
    assert sentence.endswith("but no baseline to compare it with is evaluated on these videos.")


def test_without_scores_there_is_a_difference_and_no_interval() -> None:
    old = model("baseline", "x.baseline", predictions(1.0, 1), keeps_scores=False)
    shown = experiment(with_roles=("student",))
    sentence = first(replace(shown, models=(old, *shown.models)))
    assert sentence.startswith("Not known: the student") and "points more than the baseline, without an interval (" in (
        sentence
    )
    assert "the scores of each video were not kept" in sentence


def test_other_videos_are_not_compared_and_the_reason_is_given() -> None:
    other = model("baseline", "x.baseline", predictions(1.0, 1, num_videos=59))
    shown = experiment(with_roles=("student",))
    sentence = first(replace(shown, models=(other, *shown.models)))
    assert sentence.startswith("Not known: ") and "expected the same test videos" in sentence


def test_the_second_sentence_is_about_the_teacher_and_the_gap() -> None:
    sentences = lead_sentences(find(experiment(3.0, -1.0, 5.0)))
    assert re.search(r"The teacher .* the student answers [\d.]+ points less than it \(95 % interval", sentences[1])
    assert re.search(
        r" Of the [\d.]+ points between baseline and teacher, the student recovers [\d.]+\.$", sentences[1]
    )
    assert "Each network was trained once" in sentences[2]


def test_label_sets_are_told_by_gap() -> None:
    sentence = first(experiment(4.0, 0.5, several=True))
    assert re.search(
        r"Better than this baseline: the student .* reaches [\d.]+ GAP@20 on 60 videos, [\d.]+ points more than",
        sentence,
    )


def test_plain_models_are_compared_with_the_last() -> None:
    models = tuple(model("other", name, predictions(strength, 1)) for name, strength in (("a", 0.0), ("b", 5.0)))
    sentences = lead_sentences(find(Experiment("x", models)))
    assert sentences[0].startswith("b (112 x 112 pixels, 4 frames) answers ") and "(95 % interval" in sentences[0]
    assert re.match(r"b is better: [\d.]+ points more than a in top-1", sentences[1])
    alone = lead_sentences(find(Experiment("x", models[:1])))
    assert alone[-1] == "It has no teacher and nothing to compare it with."


def test_each_comparison_names_the_model_that_it_is_about() -> None:
    """Teacher and baseline are evaluated, the student is not yet."""
    teacher, baseline = experiment(with_roles=("teacher", "baseline")).models
    sentences = lead_sentences(find(Experiment("x", (teacher, baseline))))
    assert re.match(r"x\.teacher is better: [\d.]+ points more than x\.baseline in top-1", sentences[1])
