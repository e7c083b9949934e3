"""Formats a student's answer to a video as one line: text for people, JSON for programs."""

from __future__ import annotations

import json
from typing import Any

from torch import Tensor

from dali_pipes.file_names import on_one_line
from reskd.inference.answers import Answer, NoAnswer
from reskd.inference.feature_records import RecordAnswer
from reskd.inference.student import TrainedStudent


def as_text(student: TrainedStudent, found: Answer | NoAnswer, count: int) -> str:
    """For example "clip.mp4: archery 93.1%, bowling 4.0%"."""
    if isinstance(found, NoAnswer):
        return f"{on_one_line(found.file)}: no answer: {found.reason}"
    return f"{on_one_line(found.file)}: {scores_as_text(student, found.scores_K, count)}"


def scores_as_text(student: TrainedStudent, scores_K: Tensor, count: int) -> str:
    """The ``count`` best classes, for example "archery 99.9%, bowling <0.1%"."""
    best = student.top(scores_K, count)
    return ", ".join(f"{name} {'<0.1%' if 0 < score < 0.0005 else f'{score:.1%}'}" for name, score in best)


def as_json(student: TrainedStudent, found: Answer | NoAnswer, count: int) -> str:
    """One JSON object; docs/deploy.md lists the keys, which are the same for windows and streams."""
    if isinstance(found, NoAnswer):
        return error_as_json(found.file, found.reason)
    of_record = {"video": found.video_id} if isinstance(found, RecordAnswer) else {}
    answers = best_answers(student, found.scores_K, found.logits_K, count)
    return json.dumps({"file": found.file, **of_record, "answers": answers})


def error_as_json(file: str, reason: str) -> str:
    """One JSON object for a file without an answer."""
    return json.dumps({"file": file, "error": reason})


def best_answers(student: TrainedStudent, scores_K: Tensor, logits_K: Tensor, count: int) -> list[dict[str, Any]]:
    """The ``count`` best classes, best first, as plain values: class, score and logit."""
    logits = dict(zip(student.class_names, logits_K.tolist(), strict=True))
    return [{"class": name, "score": score, "logit": logits[name]} for name, score in student.top(scores_K, count)]
