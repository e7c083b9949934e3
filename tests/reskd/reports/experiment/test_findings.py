from __future__ import annotations

import numpy as np
import pytest

from reskd.reports.experiment.charts import _finding
from reskd.reports.experiment.data import Experiment
from reskd.reports.experiment.findings import certain_mistakes, confusions, find, recall_of, worst_classes
from reskd.statistics.predictions import Predictions
from tests.reskd.reports.experiment.models import class_names, experiment, model


def of_answers(labels: list[int], answers: list[int], scores: list[float]) -> Predictions:
    """Two-score logits: the answer's is the larger, by as much as its score says."""
    logits_NK = np.full((len(labels), 3), -9.0, np.float32)
    for row, (answer, score) in enumerate(zip(answers, scores, strict=True)):
        logits_NK[row, answer] = score
    videos = tuple(f"{row}.mp4" for row in range(len(labels)))
    return Predictions(videos, videos, np.array(labels), logits_NK)


LABELS = [0, 0, 0, 1, 1, 2]
STUDENT = of_answers(LABELS, [0, 1, 1, 1, 1, 0], [1, 3, 2, 1, 1, 5])
BASELINE = of_answers(LABELS, [0, 0, 1, 0, 1, 2], [1] * 6)


def shown() -> Experiment:
    return Experiment("x", (model("baseline", "b", BASELINE), model("student", "s", STUDENT)))


def test_worst_classes_come_first_with_what_they_are_taken_for() -> None:
    names = class_names(3)
    found = worst_classes(find(shown()))
    assert [(one.name, one.num_videos, one.taken_for, one.times) for one in found] == [
        (names[2], 1, names[0], 1),
        (names[0], 3, names[1], 2),
    ]
    assert found[1].recall == pytest.approx((2 / 3, 1 / 3))


def test_recall_of_a_class_without_a_video_is_not_a_number() -> None:
    answers = model("student", "s", of_answers([0, 1], [0, 0], [1, 1])).answers
    assert answers is not None
    np.testing.assert_array_equal(recall_of(answers), [1.0, 0.0, np.nan])


def test_confusions_are_counted_the_most_frequent_first() -> None:
    answers = shown().subject.answers
    assert answers is not None
    names = class_names(3)
    assert [tuple(one) for one in confusions(answers)] == [(names[0], names[1], 2, 3), (names[2], names[0], 1, 1)]


def test_the_most_certain_mistakes_come_first_with_the_others_answers() -> None:
    names = class_names(3)
    found = certain_mistakes(find(shown()), most=2)
    assert [one.video for one in found] == ["5.mp4", "1.mp4"]
    assert (found[0].labels, found[0].answer) == ((names[2],), names[0]) and found[0].score > 0.99
    assert found[0].others == (("baseline", names[2], True),)


def test_pairs_are_student_baseline_teacher() -> None:
    found = find(experiment())
    assert [(pair.first.role, pair.second.role) for pair in found.pairs] == [
        ("student", "baseline"),
        ("student", "teacher"),
        ("teacher", "baseline"),
    ]
    assert set(found.intervals) == {"x.student", "x.baseline", "x.teacher"}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([0.3], ""),
        ([0.3, 0.5], ": still getting better for student"),
        ([0.3, 0.5, 0.5], ": no longer getting better"),
    ],
)
def test_a_curve_is_said_to_rise_only_where_that_can_be_seen(values: list[float], said: str) -> None:
    points = [(float(epoch), value) for epoch, value in enumerate(values, 1)]
    assert _finding("val/top1", {"student": points}) == said
