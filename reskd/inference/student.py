"""Loads a trained student from its checkpoint alone: the network, its classes and its input."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from reskd.choices import ScoreKind
from reskd.experiment.config import ExperimentConfig, parse_config
from reskd.experiment.data import data_of
from reskd.experiment.networks import build_evaluated_model, scores_of, view_shapes
from reskd.extensions.trust import check_trusted
from reskd.models.recognizer import Recognizer
from reskd.outputs import probabilities
from reskd.training.checkpoint import load_checkpoint
from reskd.training.run_directory import with_former_settings

_NEEDED = {"config": Mapping, "class_names": list, "student": Mapping, "num_steps": int, "config_hash": str}


@dataclass(frozen=True)
class TrainedStudent:
    """A student and its description in the checkpoint.

    Args:
        model: in eval mode.
        config: the experiment that trained it.
        class_names: in the order of the logits.
        origin: its run and checkpoint, as plain values.
        temperature: divides the logits before they become scores; Note [Why a temperature] in
            reskd/evaluation/temperature.py.
    """

    model: Recognizer
    config: ExperimentConfig
    class_names: tuple[str, ...]
    origin: Mapping[str, Any]
    temperature: float = 1.0

    @property
    def shape(self) -> tuple[int, ...]:
        """(T, H, W) of its clips, or (T, D) of its features."""
        return view_shapes(self.config)["student"]

    @property
    def device(self) -> torch.device:
        """The device of its weights."""
        return next(self.model.parameters()).device

    @property
    def scores(self) -> ScoreKind:
        """The kind of scores that its logits were trained for."""
        return scores_of(self.config)

    def score(self, logits_K: torch.Tensor) -> torch.Tensor:
        """The probability of each class."""
        return probabilities(logits_K, self.scores, self.temperature)

    def top(self, scores_K: torch.Tensor, count: int) -> list[tuple[str, float]]:
        """(class, score) of the ``count`` best classes, best first."""
        scores, classes = scores_K.topk(min(count, len(self.class_names)))
        return [(self.class_names[k], score) for k, score in zip(classes.tolist(), scores.tolist(), strict=True)]


def load_trained_student(
    checkpoint: Path, device: torch.device, *, trust_code: bool = False, temperature: float = 1.0
) -> TrainedStudent:
    """Read a checkpoint of reskd train; no other file is needed.

    Args:
        temperature: above 0; of the scores.
        trust_code: whether code may be executed that the checkpoint names for its student (family python). Code that it
            names for the teacher, losses, metrics or loggers is executed in no case.

    Raises:
        FileNotFoundError, ValueError: no such file; another kind of file; its parts do not fit together; it names code
            that is not trusted.
    """
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(f"temperature: expected a number above 0, found {temperature}; leave it out for 1.")
    state = load_checkpoint(checkpoint)
    for name, kind in _NEEDED.items():
        if not isinstance(state.get(name), kind):
            raise ValueError(
                f"{checkpoint}: expected the checkpoint of a run of reskd train, found one without {name}; "
                "give last.pt or best.pt of a run's folder."
            )
    if not all(isinstance(value, torch.Tensor) for value in state["student"].values()):
        raise ValueError(
            f"{checkpoint}: expected tensors as the student's weights, found other values; train it again."
        )
    try:
        config = parse_config(with_former_settings(state["config"]))
    except ValueError as error:
        reason = str(error).splitlines()[0]
        asks = "" if "pip install" in reason else " Was it written by another version?"
        raise ValueError(f"{checkpoint}: expected the settings of an experiment, found {reason}{asks}") from None
    names = state["class_names"]
    if not names or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{checkpoint}: expected class names, found {names[:5]}; train it again.")
    check_trusted(config.student, str(checkpoint), trust_code=trust_code)  # nothing else of the config is built
    model = build_evaluated_model(config, state, which="student", source=str(checkpoint), device=device).eval()
    model.check_shape(view_shapes(config)["student"])
    origin = {
        "run": config.name,
        "checkpoint": checkpoint.name,
        "num_steps": state["num_steps"],
        "config_hash": state["config_hash"],
    }
    return TrainedStudent(model, config, tuple(names), origin, temperature)


def describe_student(student: TrainedStudent) -> dict[str, Any]:
    """All that a program without this package needs to run the student, as plain values (docs/deploy.md)."""
    logits = {"name": "logits", "dtype": "float32", "shape": ["N", len(student.class_names)]}
    return {
        "schema_version": 1,
        "origin": dict(student.origin),
        "student": student.model.config.settings_beside_weights(),
        "class_names": list(student.class_names),
        "scores": student.scores,
        "temperature": student.temperature,
        "output": logits,
        **data_of(student.config).describe_input(),
    }
