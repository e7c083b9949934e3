from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from reskd.reports.answer_pictures import confusion_of, draw_answers
from tests.reskd.reports.test_answers import make_answers


def test_confusion_counts_answers_by_class() -> None:
    answers = make_answers()
    counts_KK = confusion_of(answers)
    labels_N, top_N = answers.right_NK.argmax(1), answers.scores_NK.argmax(1)
    assert counts_KK.sum() == 60 and counts_KK[2, 3] == ((labels_N == 2) & (top_N == 3)).sum()


@pytest.mark.parametrize(("num_classes", "width"), [(3, 30), (60, 200)])
def test_pictures_of_few_and_many_classes(num_classes: int, width: int, tmp_path: Path) -> None:
    answers = make_answers(300, num_classes)
    answers = replace(answers, class_names=[f"$x_{k}^ <b> & " + "long" * width for k in range(num_classes)])
    paths = draw_answers(answers, tmp_path / "evaluation")
    assert [path.name for path in paths] == ["evaluation.confusion.svg", "evaluation.calibration.svg"]
    assert all(path.stat().st_size < 500_000 for path in paths)
    roots = [ElementTree.parse(path).getroot() for path in paths]
    assert all(root.tag == "{http://www.w3.org/2000/svg}svg" and root.attrib["aria-label"] for root in roots)
    again = draw_answers(answers, tmp_path / "again")
    assert len(again) == 2


def test_several_labels_have_no_confusion(tmp_path: Path) -> None:
    assert [path.name for path in draw_answers(make_answers(several=True), tmp_path / "x")] == ["x.calibration.svg"]


def test_no_scored_video_has_no_picture(tmp_path: Path) -> None:
    answers = make_answers()
    none = replace(answers, videos=[], scores_NK=answers.scores_NK[:0], right_NK=answers.right_NK[:0])
    assert draw_answers(none, tmp_path / "x") == []
    assert np.isfinite(answers.scores_NK).all()
