"""Formats a student's answer to a video as one line: text for people, JSON for programs."""

from __future__ import annotations

import json
from typing import Any

from dali_pipes.file_names import on_one_line
from reskd.inference.answers import Answer, NoAnswer
from reskd.inference.feature_records import RecordAnswer
from reskd.inference.student import TrainedStudent


def as_text(student: TrainedStudent, found: Answer | NoAnswer, count: int) -> str:
    """For example "clip.mp4: archery 93.1%, bowling 4.0%"."""
    if isinstance(found, NoAnswer):
        return f"{on_one_line(found.file)}: no answer: {found.reason}"
    answers = ", ".join(f"{name} {score:.1%}" for name, score in student.top(found.scores_K, count))
    return f"{on_one_line(found.file)}: {answers}"


def as_json(student: TrainedStudent, found: Answer | NoAnswer, count: int) -> str:
    """One JSON object; reskd predict lists its keys."""
    if isinstance(found, NoAnswer):
        return json.dumps({"file": found.file, "error": found.reason})
    logits = dict(zip(student.class_names, found.logits_K.tolist(), strict=True))
    answers: list[dict[str, Any]] = [
        {"class": name, "score": score, "logit": logits[name]} for name, score in student.top(found.scores_K, count)
    ]
    of_record = {"video": found.video_id} if isinstance(found, RecordAnswer) else {}
    return json.dumps({"file": found.file, **of_record, "answers": answers})
