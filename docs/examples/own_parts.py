"""A loss term and a logger of one's own: see docs/extending.md."""

import json
from pathlib import Path

from torch import Tensor, nn


def cosine_term(pair: object) -> nn.Module:
    """1 - cosine between the mean features of student and teacher."""
    return CosineTerm(pair.student_dim, pair.teacher_dim)


class CosineTerm(nn.Module):
    """Its projection is trained and saved with the student's loss."""

    def __init__(self, student_dim: int, teacher_dim: int) -> None:
        super().__init__()
        self.projection = nn.Linear(student_dim, teacher_dim)

    def forward(self, student, teacher, targets: Tensor) -> Tensor:  # two reskd.outputs.RecognizerOutput
        mine = self.projection(student.features_NTDHW.mean((1, 3, 4)))
        theirs = teacher.features_NTDHW.detach().mean((1, 3, 4))
        return (1 - nn.functional.cosine_similarity(mine, theirs)).mean()


def csv_logger(folder: Path, settings: dict, name: str = "losses.txt") -> "LineLogger":
    """A line for every logged step."""
    return LineLogger(folder / name)


class LineLogger:
    def __init__(self, path: Path) -> None:
        self.path = path

    def scalars(self, step: int, values: dict[str, float]) -> None:
        with self.path.open("a") as file:
            file.write(f"{json.dumps({'step': step, 'loss': values['loss/total']})}\n")
