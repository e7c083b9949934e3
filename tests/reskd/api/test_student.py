from __future__ import annotations

from pathlib import Path

import pytest
import torch

from reskd.api.student import load_student
from reskd.inference.answers import Answer, NoAnswer
from tests.conftest import numbered_clip
from tests.reskd.feature_files import write_features
from tests.tiny_student import CLASSES, write_checkpoint, write_feature_checkpoint


def test_scores_of_frames_are_those_of_the_file_that_they_come_from(tmp_path: Path) -> None:
    student = load_student(str(write_checkpoint(tmp_path / "last.pt")), "cpu")
    assert student.class_names == CLASSES and student.input_shape == (2, 40, 40)
    clip = numbered_clip(tmp_path / "a.mp4", "libx264", 12)
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    answer, bad = student.answers([clip, tmp_path / "bad.mp4"], clips=1, crops=1)
    assert isinstance(bad, NoAnswer) and bad.file.endswith("bad.mp4")
    assert isinstance(answer, Answer)
    frames = answer.frames_THWC[None]  # type: ignore[attr-defined]
    scores_NK = student.scores(frames)
    assert scores_NK.dtype == torch.float32 and torch.allclose(scores_NK[0], answer.scores_K, atol=1e-6)
    assert [name for name, _ in student.top(scores_NK[0], 9)] == sorted(
        CLASSES, key=lambda name: -scores_NK[0, CLASSES.index(name)].item()
    )


@pytest.mark.parametrize(
    ("clips", "kind", "message"),
    [
        (torch.zeros(1, 2, 40, 40, 3), TypeError, "expected uint8, found torch.float32"),
        (torch.zeros(1, 2, 40, 41, 3, dtype=torch.uint8), ValueError, r"expected shape \(N, 2, 40, 40, 3\), found"),
        (torch.zeros(2, 40, 40, 3, dtype=torch.uint8), ValueError, r"expected shape \(N, 2, 40, 40, 3\), found"),
    ],
)
def test_other_frames_are_refused(tmp_path: Path, clips: torch.Tensor, kind: type[Exception], message: str) -> None:
    student = load_student(write_checkpoint(tmp_path / "last.pt"), "cpu")
    with pytest.raises(kind, match=message):
        student.scores(clips)


def test_a_student_of_features_answers_records(tmp_path: Path) -> None:
    write_features(tmp_path)
    student = load_student(write_feature_checkpoint(tmp_path / "last.pt", root=tmp_path), "cpu")
    answers = list(student.answers([tmp_path]))
    assert answers and all(isinstance(answer, Answer) for answer in answers)
    frames, width = student.input_shape
    scores_NK = student.scores(torch.zeros(3, frames, width, dtype=torch.uint8))
    assert scores_NK.shape == (3, len(CLASSES))


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pt"):
        load_student(tmp_path / "nowhere.pt", "cpu")
