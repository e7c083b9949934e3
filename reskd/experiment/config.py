"""The config of one experiment, which combines the components' own configs; one YAML file holds it.

``load_config("configs/x.yaml", ["optimizer.lr=0.02"])`` reads the file, applies the overrides and checks every key.
config_files.py reads and merges the files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, ValidationError, model_validator

from dali_pipes.config import DataConfig, StrictConfig
from dali_pipes.features.config import FeatureDataConfig
from reskd.choices import METRIC_NAMES, DeviceChoice
from reskd.experiment.config_errors import explain
from reskd.experiment.config_files import (
    ConfigFile,
    apply_override,
    merge_files,
    name_source,
    read_config_files,
    read_settings,
)
from reskd.extensions.config import MadeByCode, PlainName
from reskd.losses.config import LossConfig
from reskd.models.common_config import KEPT_PARTS
from reskd.models.config import RecognizerConfig, parse_recognizer
from reskd.models.teacher_config import TeacherConfig
from reskd.runtime.config import RuntimeConfig
from reskd.training.plan import TrainingConfig
from reskd.training.run_changes import flatten
from reskd.training.schedule import ScheduleConfig
from reskd.training.settings.optimizer import OptimizerConfig
from reskd.training.settings.recipes import check_mixing

_STAGE_PREFIX = "stage:"
_HOME = re.compile(r"~[\w.-]*(/|$)")  # a shell expands it, a file's text is taken as it is


def referred_stage(source: str | None) -> str | None:
    """NAME if ``source`` is "stage:NAME", an earlier stage of the same file; None if it is a path or another name.

    teacher.stage and student.weights may be "stage:NAME".
    """
    if source is None or not source.startswith(_STAGE_PREFIX):
        return None
    return source.removeprefix(_STAGE_PREFIX)


ViewName = Literal["student", "teacher"]


class TeacherSourceConfig(TeacherConfig):
    """Where the teacher comes from: a stage trained first, or a model with weights. Exactly one of the two."""

    stage: str | None = Field(
        None,
        min_length=1,
        description="path of the config that trains the teacher, which runs first if it has no last.pt yet; or "
        "stage:NAME, an earlier stage of the same file",
    )
    checkpoint: Literal["last", "best"] = Field(
        "last",
        description="of the stage: last.pt, the weights after its last step, or best.pt, chosen by its validation list",
    )
    model: RecognizerConfig | None = Field(
        None, description="architecture and weights of an existing teacher, or the start of a joint teacher"
    )

    @model_validator(mode="after")
    def _one_source(self) -> TeacherSourceConfig:
        if (self.stage is None) == (self.model is None):
            raise ValueError("teacher: expected exactly one of stage and model")
        if self.model is not None and referred_stage(self.model.weights) is not None:
            raise ValueError(f"teacher: set stage to {self.model.weights} and remove model; the stage has its settings")
        if self.model is not None and self.checkpoint != "last":
            raise ValueError(
                f"teacher.checkpoint: expected last beside teacher.model, found {self.checkpoint}, which is a "
                "stage's; name the file in teacher.model.weights"
            )
        return self


def _kind_of_data(settings: Any) -> str:
    """The tag of the union; data without a kind are clips."""
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
    """One experiment: what is trained, on which videos, from which teacher."""

    name: str = Field(
        max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="name of the run's folder under runs"
    )
    runs: Path = Field(Path("runs"), description="folder of all runs")
    seed: int = Field(1, ge=0, lt=2**63, description="seed of initialization, clip order, crops, flips and dropout")
    device: DeviceChoice = Field("auto", description="auto uses the GPU if there is one")
    data: AnyDataConfig = Field(description="lists, sampling, views and loader")
    student: RecognizerConfig = Field(description="the network that the run trains, also where it teaches later")
    teacher: TeacherSourceConfig | None = Field(None, description="none trains a plain model")
    loss: LossConfig = Field(LossConfig(), description="task and distillation terms")
    optimizer: OptimizerConfig = Field(description="optimizer and learning rate")
    schedule: ScheduleConfig = Field(ScheduleConfig(), description="learning rate over the run")
    training: TrainingConfig = Field(description="length, batches, precision, logging and checkpoints")
    runtime: RuntimeConfig = Field(RuntimeConfig(), description="how the networks run on their device")
    metrics: dict[PlainName, MadeByCode] = Field({}, description="of your own code, by name: docs/extending.md")
    loggers: dict[PlainName, MadeByCode] = Field({}, description="of your own code, by name: docs/extending.md")

    @model_validator(mode="after")
    def _distillation_is_whole(self) -> ExperimentConfig:
        terms = self.loss.distillation_terms
        if self.teacher is None and terms:
            name = f"loss.{terms[0]}"
            raise ValueError(f"{name} needs a teacher; add teacher.stage or teacher.model, or remove {name}")
        if self.teacher is not None and not terms:
            raise ValueError(
                "a teacher is named, but no loss term uses it; add loss.pixel.alpha (100 in the ResKD paper), "
                "loss.logit_map.alpha (200), loss.frame.alpha or loss.clip.alpha, or loss.embedding.alpha and "
                "loss.prediction.alpha (1 in fewer-frames)"
            )
        shares_view = self.teacher is not None and self.teacher.sees == "student_view"
        if self.teacher is not None and self.data.views.teacher is None and not shares_view:
            raise ValueError(
                "a teacher is named, but it has no view; add data.views.teacher.size, data.views.teacher={} where the "
                "data are features, or teacher.sees=student_view"
            )
        selection = getattr(self.data.views.student, "selection", "uniform")
        if self.loss.frame_terms and selection == "random" and not shares_view:
            raise ValueError(
                f"loss.{self.loss.frame_terms[0]} compares frames of the same times, but data.views.student.selection "
                "= random draws other frames each time; use loss.embedding or loss.prediction, or another selection"
            )
        return self

    @model_validator(mode="after")
    def _metrics_have_names_of_their_own(self) -> ExperimentConfig:
        if taken := [name for name in self.metrics if name in METRIC_NAMES]:
            raise ValueError(f"metrics.{taken[0]}: expected a name that no metric of this program has; choose another")
        return self

    @model_validator(mode="after")
    def _gradients_can_be_compared(self) -> ExperimentConfig:
        asking = ["training.diagnose_every_steps"] if self.training.diagnose_every_steps is not None else []
        asking += [f"loss.{name}.alpha = auto" for name in self.loss.auto_terms]
        if self.runtime.compile == "all" and asking:
            raise ValueError(
                f"{asking[0]} compares gradients inside the student, which runtime.compile = all makes one step; "
                "expected runtime.compile = teacher or off beside it"
            )
        return self

    @model_validator(mode="after")
    def _recipes_fit(self) -> ExperimentConfig:
        if self.training.mixing is not None:
            check_mixing(self.loss.task, on_features=self.data.kind == "features")
        if self.data.class_sampling == "balanced" and self.loss.class_weights == "balanced":
            raise ValueError(
                "data.class_sampling = balanced and loss.class_weights = balanced each make up for rare classes, and "
                "both would do so twice; remove one of them"
            )
        return self

    @model_validator(mode="after")
    def _auto_is_measured_against_a_trained_teacher(self) -> ExperimentConfig:
        if self.teacher is not None and self.teacher.update == "joint" and self.loss.auto_terms:
            raise ValueError(
                f"loss.{self.loss.auto_terms[0]}.alpha = auto measures the weight in the first steps, in which a "
                "teacher with teacher.update = joint is as untrained as its student; set alpha to a number"
            )
        return self

    @model_validator(mode="after")
    def _teacher_knows_something(self) -> ExperimentConfig:
        if self.teacher is None or self.teacher.model is None or self.teacher.update == "joint":
            return self
        asked = [f"loss.{name}" for name in self.loss.distillation_terms if name != "pixel"]
        asked += ["teacher.shares_head"] if self.teacher.shares_head else []
        of_head = [name for name in asked if name not in ("loss.embedding", "loss.intermediate")]
        if of_head and self.teacher.model.weights_head == "new":
            raise ValueError(
                f"{of_head[0]} needs a trained teacher's head, but teacher.model.weights_head is new; "
                "expected keep, with the checkpoint of a teacher trained on these classes"
            )
        if asked and self.teacher.model.weights == "none":
            raise ValueError(
                f"{asked[0]} needs a trained teacher, but teacher.model.weights is none; expected the "
                "checkpoint of a teacher trained on these classes, or teacher.update = joint, which trains it beside "
                "the student"
            )
        return self

    @model_validator(mode="after")
    def _kept_parts_are_the_trained_students(self) -> ExperimentConfig:
        for key, default in KEPT_PARTS.items():
            asked = getattr(self.student, key, default)
            if asked != default and self.student.weights == "none":
                raise ValueError(
                    f"student.{key} = {asked} keeps a part of the initial weights as it is, but student.weights is "
                    f"none; set student.weights, or leave {key} out"
                )
            of_teacher = getattr(self.teacher and self.teacher.model, key, default)
            if of_teacher != default:
                raise ValueError(
                    f"teacher.model.{key}: expected {default}, found {of_teacher}; only student has this setting, a "
                    "teacher has teacher.update and teacher.batch_norm"
                )
        return self

    @property
    def folder(self) -> Path:
        return self.runs / self.name

    def stage_folder(self, stage: str) -> Path:
        """The folder of another stage's run; the runs of one file are called <name>.<stage>."""
        return self.runs / f"{self.name.rpartition('.')[0]}.{stage}"

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


def load_config(source: Path | str | Mapping[str, Any], overrides: Sequence[str] = ()) -> ExperimentConfig:
    """Read the experiment in a YAML file over its base, with ``key.sub=value`` overrides (values are YAML).

    Args:
        source: the file, or what it would hold.

    Raises:
        FileNotFoundError, ValueError: as read_config_files; an unknown key, a missing or wrong value. The message names
            the file, the key, the expected and the found value.
    """
    files = read_config_files(source)
    path, tree = files[0].path, merge_files(files)
    if "stages" in tree:
        raise ValueError(f"{path} describes several stages; expected one experiment. Give the config.yaml of one run.")
    for override in overrides:
        apply_override(tree, override)
    of_command = ConfigFile(files[0].path, read_settings(overrides, where=str(path)))
    return parse_config(tree, where=str(path), files=[of_command, *files])


def parse_config(
    tree: Mapping[str, Any], *, where: str = "config", files: Sequence[ConfigFile] = ()
) -> ExperimentConfig:
    """Validate plain values as an experiment.

    Args:
        where: the name of ``tree`` in errors.
        files: the files that ``tree`` was merged from, the winning one first, so that an error can name a base.

    Raises:
        ValueError: one line per fault.
    """
    for key, value in flatten(tree):
        if isinstance(value, str) and _HOME.match(value):
            source = name_source(key.split("."), files, where=where)
            raise ValueError(f"{source}: {key}: expected a whole path, found {value!r}; write out what ~ stands for.")
    try:
        return ExperimentConfig.model_validate(tree)
    except ValidationError as error:
        faults = explain(error, ExperimentConfig)
        lines = [f"{name_source(fault.keys, files, where=where)}: {fault.sentence}" for fault in faults]
        raise ValueError("\n".join(lines)) from None


def recognizer_from(tree: Mapping[str, Any], *, where: str) -> RecognizerConfig:
    """Validate the config of a recognizer alone; raises ValueError with one line per fault, as parse_config."""
    try:
        return parse_recognizer(tree)
    except ValidationError as error:
        faults = explain(error, RecognizerConfig, group="student")
        raise ValueError("\n".join(f"{where}: {fault.sentence}" for fault in faults)) from None
