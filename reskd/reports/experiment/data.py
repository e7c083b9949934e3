"""What the report of an experiment shows: models that were evaluated on the same videos."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from reskd.experiment.config import ExperimentConfig
from reskd.outputs import probabilities
from reskd.reports.answers import Answers
from reskd.statistics.score_files import ScoredVideos

Role = Literal["teacher", "baseline", "student", "other"]
ROLES: tuple[Role, ...] = ("baseline", "student", "teacher", "other")  # in the order of tables
Curves = Mapping[str, tuple[tuple[float, float], ...]]  # metric -> (epoch, value)


@dataclass(frozen=True, eq=False)
class Model:
    """An evaluated model.

    Args:
        role: what it is in the experiment.
        result: as reskd evaluate writes it.
        scored: the scores of its videos; None where the evaluation did not keep them, or an earlier version made it.
        curves: of its training.
        config: of its run; None if it cannot be read.
    """

    role: Role
    folder: Path
    result: Mapping[str, Any]
    scored: ScoredVideos | None
    curves: Curves
    config: ExperimentConfig | None

    @property
    def name(self) -> str:
        """The run's name, and that of the model if it is the teacher of another's run."""
        name = str(self.result["name"])
        return f"{name}, its teacher" if self.result.get("which") == "teacher" else name

    @property
    def title(self) -> str:
        """The role where it has one, else the name."""
        return self.name if self.role == "other" else self.role

    @property
    def called(self) -> str:
        """For a sentence: "the student", or the name."""
        return self.name if self.role == "other" else f"the {self.role}"

    @property
    def answers(self) -> Answers | None:
        if self.scored is None:
            return None
        predictions = self.scored.predictions
        scores_NK = probabilities(torch.from_numpy(predictions.logits_NK), predictions.scores)
        views = self.result.get("views", {})
        return Answers(
            videos=predictions.videos,
            class_names=self.scored.class_names,
            scores_NK=scores_NK.numpy(),
            right_NK=predictions.as_label_sets(),
            num_views=int(views.get("clips", 1)) * int(views.get("crops", 1)),
            unscored=self.scored.unscored,
        )


@dataclass(frozen=True)
class Experiment:
    """Models that are compared.

    Args:
        models: evaluated on the same videos; the last of a role counts.
        left_out: sentences on runs that are not compared, with the reason.
        todo: commands that evaluate what is still missing, with what each is for.
        training: the command that trains the models; "" if it is not known.
    """

    title: str
    models: tuple[Model, ...]
    left_out: tuple[str, ...] = ()
    todo: Mapping[str, str] = field(default_factory=dict)
    training: str = ""

    def of_role(self, role: Role) -> Model | None:
        return next((model for model in reversed(self.models) if model.role == role), None)

    @property
    def subject(self) -> Model:
        """Whom the report is about: the student; without one, the last model."""
        return self.of_role("student") or self.models[-1]

    @property
    def in_order(self) -> list[Model]:
        return sorted(self.models, key=lambda model: ROLES.index(model.role))
