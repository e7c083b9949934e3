"""One experiment as one YAML file: the components' own configs, put together.

``load_config("configs/x.yaml", ["optimizer.lr=0.02"])`` reads the file, applies the overrides and checks every key.
"""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, Discriminator, Field, Tag, ValidationError, model_validator

from dali_pipes.config import DataConfig, StrictConfig
from dali_pipes.features.config import FeatureDataConfig
from reskd.distributed import DeviceChoice
from reskd.losses.config import LossConfig
from reskd.models.config import RecognizerConfig, TeacherConfig, parse_recognizer
from reskd.training.optimizer import OptimizerConfig
from reskd.training.plan import TrainingConfig
from reskd.training.schedule import ScheduleConfig

# Before the name of a stage, where else a path stands.
STAGE_PREFIX = "stage:"

ViewName = Literal["student", "teacher"]


class TeacherSourceConfig(TeacherConfig):
    """Where the teacher comes from: a stage trained first, or a model with weights. Exactly one of the two."""

    stage: Path | None = Field(
        None,
        description="config of the run that trains the teacher, run first when its last.pt is not there; or "
        "stage:NAME, an earlier one of the file's stages",
    )
    model: RecognizerConfig | None = Field(
        None, description="architecture and weights of a teacher that exists, or that a joint teacher starts from"
    )

    @model_validator(mode="after")
    def _one_source(self) -> TeacherSourceConfig:
        if (self.stage is None) == (self.model is None):
            raise ValueError("teacher: expected exactly one of stage and model")
        if self.model is not None and self.model.weights.startswith(STAGE_PREFIX):
            raise ValueError(f"teacher: set stage to {self.model.weights} in place of model, whose settings it brings")
        return self


def _kind_of_data(settings: Any) -> str:
    """The choice's tag; data that names no kind is clips."""
    found = settings.get("kind", "clips") if isinstance(settings, Mapping) else getattr(settings, "kind", "clips")
    return str(found)


AnyDataConfig = Annotated[
    Annotated[DataConfig, Tag("clips")] | Annotated[FeatureDataConfig, Tag("features")],
    Discriminator(
        _kind_of_data,
        custom_error_type="unknown_kind",
        custom_error_message="kind: expected one of clips and features",
    ),
]


class ExperimentConfig(StrictConfig):
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="of the run's folder under runs")
    runs: Path = Field(Path("runs"), description="folder of all runs")
    seed: int = Field(1, ge=0, description="of the initialisation, the clips' order, crops, flips and dropout")
    device: DeviceChoice = Field("auto", description="auto is the GPU where there is one")
    data: AnyDataConfig
    student: RecognizerConfig
    teacher: TeacherSourceConfig | None = Field(None, description="none trains a plain model")
    loss: LossConfig = Field(LossConfig(), description="task and distillation terms")
    optimizer: OptimizerConfig
    schedule: ScheduleConfig = Field(ScheduleConfig(), description="learning rate over the run")
    training: TrainingConfig

    @model_validator(mode="after")
    def _distillation_is_whole(self) -> ExperimentConfig:
        terms = self.loss.distillation_terms
        if self.teacher is None and terms:
            name = f"loss.{terms[0]}"
            raise ValueError(f"{name} needs a teacher; add teacher.stage or teacher.model, or remove {name}")
        if self.teacher is not None and not terms:
            raise ValueError(
                "a teacher is named, but no loss term uses it; add loss.pixel.alpha (100 in the ResKD paper), "
                "loss.logit_map.alpha (200), or loss.code.alpha and loss.prediction.alpha (1 in fewer-frames)"
            )
        if self.teacher is not None and self.data.views.teacher is None:
            raise ValueError(
                "a teacher is named, but it has no view; add data.views.teacher.size, or data.views.teacher={} where "
                "the data are features"
            )
        selection = getattr(self.data.views.student, "selection", "uniform")
        if self.loss.map_terms and selection == "random":
            raise ValueError(
                f"loss.{self.loss.map_terms[0]} compares frames of the same moments, and data.views.student.selection "
                "= random shows other frames each time; use loss.code or loss.prediction, or another selection"
            )
        return self

    @model_validator(mode="after")
    def _teacher_knows_something(self) -> ExperimentConfig:
        if self.teacher is None or self.teacher.model is None or self.teacher.update == "joint":
            return self
        asked = [f"loss.{name}" for name in self.loss.distillation_terms if name != "pixel"]
        asked += ["teacher.shares_head"] if self.teacher.shares_head else []
        of_head = [name for name in asked if name != "loss.code"]
        if of_head and self.teacher.model.weights_head == "new":
            raise ValueError(
                f"{of_head[0]} takes what a trained teacher's head says, and teacher.model.weights_head is new; "
                "expected keep, with the checkpoint of a teacher trained on these classes"
            )
        if asked and self.teacher.model.weights == "none":
            raise ValueError(
                f"{asked[0]} takes what a trained teacher knows, and teacher.model.weights is none; expected the "
                "checkpoint of a teacher trained on these classes, or teacher.update = joint, which trains it beside "
                "the student"
            )
        return self

    @property
    def folder(self) -> Path:
        return self.runs / self.name

    def stage_folder(self, reference: str) -> Path:
        """The run that ``stage:NAME`` means: of the same file, whose runs are called <name>.<stage>."""
        return self.runs / f"{self.name.rpartition('.')[0]}.{reference.removeprefix(STAGE_PREFIX)}"

    @property
    def clips(self) -> DataConfig:
        """``data`` of an experiment on videos.

        Raises:
            ValueError: the data are features.
        """
        if self.data.kind == "features":
            raise ValueError(f"{self.name} is trained on features (data.kind = features); expected videos.")
        return self.data

    @property
    def features(self) -> FeatureDataConfig:
        """``data`` of an experiment on features.

        Raises:
            ValueError: the data are videos.
        """
        if self.data.kind == "clips":
            raise ValueError(f"{self.name} is trained on videos (data.kind = clips); expected features.")
        return self.data

    def resolved(self) -> dict[str, Any]:
        """All settings as plain values, defaults included."""
        return self.model_dump(mode="json")


def load_config(path: Path | str, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """The experiment in the YAML file ``path`` with ``key.sub=value`` overrides, whose values are YAML too.

    Raises:
        FileNotFoundError, ValueError: no such file; not YAML; an unknown key, a missing or wrong value. The message
            names the key, what was expected and what was found.
    """
    tree = read_tree(path)
    if "stages" in tree:
        raise ValueError(f"{path} describes several stages; expected one experiment. Give the config.yaml of one run.")
    for override in overrides:
        apply_override(tree, override)
    return parse_config(tree, where=str(path))


def read_tree(path: Path | str) -> dict[str, Any]:
    """The plain values of a YAML file; raises as load_config."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"expected a config file at {path}, found none.{_nearest_file(path)}")
    try:
        tree = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: expected YAML, found {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        raise ValueError(f"{path}: expected keys and values, found {type(tree).__name__}.")
    return tree


def parse_config(tree: Mapping[str, Any], *, where: str = "config") -> ExperimentConfig:
    """Raises ValueError with one line a fault."""
    try:
        return ExperimentConfig.model_validate(tree)
    except ValidationError as error:
        faults = [_explain(fault) for fault in error.errors(include_url=False)]
        raise ValueError("\n".join(f"{where}: {fault}" for fault in faults)) from None


def read_settings(settings: Sequence[str], *, where: str, over: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Plain values from ``key.sub=value`` arguments, over those that are known.

    Raises:
        ValueError: as apply_override; ``where`` says which argument.
    """
    tree = copy.deepcopy(dict(over or {}))
    try:
        for setting in settings:
            apply_override(tree, setting)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    return tree


def recognizer_from(tree: Mapping[str, Any], *, where: str) -> RecognizerConfig:
    """A recogniser's config alone; raises ValueError with one line a fault, as parse_config."""
    try:
        return parse_recognizer(tree)
    except ValidationError as error:
        faults = [_explain(fault, group="student") for fault in error.errors(include_url=False)]
        raise ValueError("\n".join(f"{where}: {fault}" for fault in faults)) from None


def apply_override(tree: dict[str, Any], override: str) -> None:
    """Set one key of ``tree`` from ``key.sub=value``; raises ValueError where it has another form."""
    keys, value = split_override(override)
    *parents, last = keys
    node = tree
    for key in parents:
        if node.get(key) is None:
            node[key] = {}
        node = node[key]
        if not isinstance(node, dict):
            raise ValueError(f"{override!r}: {key} is a value, not a group of settings.")
    try:
        node[last] = yaml.safe_load(value) if value else None
    except yaml.YAMLError as error:
        raise ValueError(f"{override!r}: expected YAML as the value, found {' '.join(str(error).split())}") from None


def split_override(override: str) -> tuple[list[str], str]:
    """``a.b=1`` -> (["a", "b"], "1")."""
    match = re.fullmatch(r"([\w.-]+)=(.*)", override, flags=re.DOTALL)
    if not match:
        raise ValueError(f"expected a setting of the form key.sub=value, found {override!r}.")
    return match[1].split("."), match[2]


def _explain(fault: Mapping[str, Any], *, group: str | None = None) -> str:
    """One sentence. ``group``: the settings that were parsed, where they are not a whole experiment."""
    above = [group] if group else []
    parts = above + [str(part) for part in fault["loc"] if not str(part).startswith(("tuple", "function"))]
    # The last part that is no field is a key nobody knows or a place in a list, but for a fault of a whole group.
    kept = len(parts) if fault["type"] == "value_error" else len(parts) - 1
    location = [part for number, part in enumerate(parts) if number >= kept or not _is_tag(parts[: number + 1])]
    key = ".".join(location[len(above) :])
    if fault["type"] == "extra_forbidden":
        known = _known_keys(location[:-1])
        near = difflib.get_close_matches(location[-1], known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}."
        return f"unknown key {key}; {hint}"
    if fault["type"] == "missing":
        return f"{key}: expected a value, found none; it has no default."
    message = str(fault["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    found = "" if fault["type"] == "value_error" else f", found {fault['input']!r}"
    return f"{f'{key}: ' if key else ''}{message}{found}."


def _known_keys(location: Iterable[str]) -> list[str]:
    """The settings of the group at ``location``."""
    return sorted({name for model in _models_at(location) for name in model.model_fields})


def _is_tag(location: Sequence[str]) -> bool:
    """Whether the last part is no field but a choice's tag, as in student.tsn.backbone, which no file contains."""
    return not any(location[-1] in model.model_fields for model in _models_at(location[:-1]))


def _models_at(location: Iterable[str]) -> list[type[BaseModel]]:
    """The models that the group at ``location`` may be, found by walking their fields; tags change nothing."""
    models: list[type[BaseModel]] = [ExperimentConfig]
    for key in location:
        fields = [model.model_fields[key].annotation for model in models if key in model.model_fields]
        models = [found for field in fields for found in _models_in(field)] or models
    return models


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in _models_in(part)]


def _nearest_file(path: Path) -> str:
    folder = path.parent if path.parent.is_dir() else Path("configs")
    near = difflib.get_close_matches(path.name, [p.name for p in folder.glob("*.yaml")], n=1)
    return f" Did you mean {folder / near[0]}?" if near else ""
