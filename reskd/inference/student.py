"""A trained student from its checkpoint alone: the network, its classes, and how it is shown a video."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dali_pipes.config import DataConfig
from dali_pipes.features.config import EXTRACTION_FILE, FeatureDataConfig
from dali_pipes.sampling.spec import first_view_size, student_frames
from reskd.evaluation.metrics import Scores
from reskd.experiment.config import ExperimentConfig, parse_config
from reskd.experiment.networks import build_evaluated_model, scores_of, view_shapes
from reskd.models.recognizer import Recognizer
from reskd.training.checkpoint import load_checkpoint

# YouTube-8M's: dali_pipes/features/quantization.py.
_QUANTISATION = {
    "value": "byte * 4 / 255 + 4 / 512 - 2",
    "byte": "round((value + 2 - 4 / 512) * 255 / 4), at least 0 and at most 255",
    "layout": "the groups' vectors in their order, end to end; rows beyond the frames are 0, and valid is false there",
}
_NEEDED = {"config": Mapping, "class_names": list, "student": Mapping, "num_steps": int, "config_hash": str}


@dataclass(frozen=True)
class TrainedStudent:
    """What a checkpoint says about its student.

    Args:
        model: in eval mode.
        config: the experiment that trained it.
        class_names: in the order of the logits.
        origin: which checkpoint of which run, as plain values.
    """

    model: Recognizer
    config: ExperimentConfig
    class_names: tuple[str, ...]
    origin: Mapping[str, Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """(T, H, W) of the clips that it sees, or (T, D)."""
        return view_shapes(self.config)["student"]

    @property
    def scores(self) -> Scores:
        """What its logits were trained to be."""
        return scores_of(self.config)

    def score(self, logits_K: torch.Tensor) -> torch.Tensor:
        """The probability of each class."""
        return logits_K.softmax(-1) if self.scores == "softmax" else logits_K.sigmoid()


def load_trained_student(checkpoint: Path, device: torch.device) -> TrainedStudent:
    """Read a checkpoint of tools/train.py; no other file is needed.

    Raises:
        FileNotFoundError, ValueError: no such file; not such a checkpoint; its parts do not fit together.
    """
    state = load_checkpoint(checkpoint)
    for name, kind in _NEEDED.items():
        if not isinstance(state.get(name), kind):
            raise ValueError(
                f"{checkpoint}: expected the checkpoint of a run of tools/train.py, found one without {name}; "
                "give last.pt or best.pt of a run's folder."
            )
    if not all(isinstance(value, torch.Tensor) for value in state["student"].values()):
        raise ValueError(
            f"{checkpoint}: expected tensors as the student's weights, found other values; train it again."
        )
    try:
        config = parse_config(state["config"])
    except ValueError as error:
        raise ValueError(
            f"{checkpoint}: expected the settings of an experiment in it, found {str(error).splitlines()[0]} "
            "Was it written by another version?"
        ) from None
    names = state["class_names"]
    if not names or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{checkpoint}: expected names of classes in it, found {names[:5]}; train it again.")
    model = build_evaluated_model(config, state, which="student", source=str(checkpoint), device=device).eval()
    origin = {
        "run": config.name,
        "checkpoint": checkpoint.name,
        "num_steps": state["num_steps"],
        "config_hash": state["config_hash"],
    }
    return TrainedStudent(model, config, tuple(names), origin)


def describe_student(student: TrainedStudent) -> dict[str, Any]:
    """All that a program without this package needs to show the student a video, as plain values (docs/deploy.md)."""
    logits = {"name": "logits", "dtype": "float32", "shape": ["N", len(student.class_names)]}
    common = {
        "schema_version": 1,
        "origin": dict(student.origin),
        "student": student.model.config.model_dump(mode="json") | {"weights": "none"},
        "class_names": list(student.class_names),
        "scores": student.scores,
        "output": logits,
    }
    data = student.config.data
    return common | (
        _describe_features(data) if isinstance(data, FeatureDataConfig) else _describe_clips(student, data)
    )


def _describe_features(data: FeatureDataConfig) -> dict[str, Any]:
    """What a student of features is shown, and how it was made, as far as that is known here."""
    view = data.views.student
    num_frames = view.num_frames or data.max_frames
    return {
        "input": {"name": "features", "dtype": "uint8", "shape": ["N", num_frames, data.feature_dim]},
        "valid": {"name": "valid", "dtype": "bool", "shape": ["N", num_frames]},
        "groups": [list(group) for group in data.groups.items()],
        "quantisation": dict(_QUANTISATION),
        "frames": {"selection": view.selection, "num_frames": num_frames, "max_frames": data.max_frames},
    } | _describe_extraction(data)


def _describe_extraction(data: FeatureDataConfig) -> dict[str, Any]:
    """What extract-features wrote beside the records, but for where its weights lay: their hash says what they are."""
    path = data.root / EXTRACTION_FILE
    if not path.is_file():
        return {}
    settings = json.loads(path.read_text(encoding="utf-8"))["settings"]
    return {"extraction": {key: value for key, value in settings.items() if key != "origin"}}


def _describe_clips(student: TrainedStudent, data: DataConfig) -> dict[str, Any]:
    num_frames, height, width = student.shape
    first_height, first_width = first_view_size(data)
    sizes = [data.views.teacher.size] if data.views.teacher and data.views.student.source == "teacher_view" else []
    sizes.append(data.views.student.size)
    if data.views.student.upsample_to_teacher:
        sizes.append((height, width))
    return {
        "input": {"name": "frames", "dtype": "uint8", "shape": ["N", num_frames, height, width, 3], "colour": "RGB"},
        "frames": _describe_frames(data),
        "crop": {
            "kind": "center",
            "ratio": data.sampling.test_crop_ratio,
            "aspects": [first_height / first_width, first_width / first_height],
        },
        "resize": {"sizes": [list(size) for size in sizes], "antialias": data.views.student.antialias},
        "test": data.sampling.model_dump(mode="json", include={"test_clips", "test_crops", "average_views"}),
    }


def _describe_frames(data: DataConfig) -> dict[str, Any]:
    """Which frames one view shows: of a video of n, k * n // of for each k in ``at``, unless ``kind`` is dense."""
    total = data.sampling.num_frames
    chosen = student_frames(data.views.student.num_frames, total, data.views.student.selection)
    settings = data.sampling.frames.model_dump(mode="json", exclude={"train"})
    if data.sampling.frames.kind == "dense":
        return settings | {"num_frames": total, "chosen": chosen}
    return settings | {"at": [2 * place + 1 for place in chosen], "of": 2 * total}
