"""Checks that teacher and student go together, and makes them share a classifier."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from reskd.choices import ScoreKind
from reskd.experiment.config import ExperimentConfig
from reskd.models.aggregators.config import answering_settings
from reskd.models.common_config import BatchNormChoice
from reskd.models.config import AggregatedConfig, FeaturesConfig, network_name
from reskd.models.python_config import PythonConfig
from reskd.models.recognizer import Recognizer


def check_scores(config: ExperimentConfig, teacher: Recognizer, *, scores: ScoreKind) -> None:
    """Refuse a teacher whose class scores are of another kind than the student's, or were never trained.

    Args:
        scores: the kind of scores that the teacher's logits were trained for.

    Raises:
        ValueError: a loss uses such a teacher's scores, or the student its head.
    """
    assert config.teacher is not None
    if config.loss.softmax_terms and scores == "sigmoid":
        name = config.loss.softmax_terms[0]
        raise ValueError(
            f"loss.{name} compares softmax scores, and the teacher's stage was trained with loss.task = sigmoid_bce; "
            f"expected a teacher trained with softmax_ce or random_label_ce, or loss.pixel in place of loss.{name}."
        )
    asked = [f"loss.{name}" for name in config.loss.softmax_terms]
    asked += ["loss.prediction"] if config.loss.prediction else []
    asked += ["teacher.shares_head"] if config.teacher.shares_head else []
    if not asked:
        return
    if scores != config.loss.scores:
        raise ValueError(
            f"{asked[-1]} needs scores of one kind from both networks: expected a teacher with {config.loss.scores} "
            f"scores, as loss.task = {config.loss.task} trains them, found one whose stage trained {scores} scores; "
            "give both stages one loss.task."
        )
    if config.teacher.update == "frozen" and _was_never_trained(teacher.head):
        raise ValueError(
            f"{asked[0]} uses the teacher's head, but this one was never trained (its biases are all 0); "
            "expected the checkpoint of a teacher trained on these classes, not of a backbone."
        )


def _was_never_trained(head: nn.Module) -> bool:
    """The biases of new heads are exactly 0, those of trained ones never."""
    biases = [value for name, value in head.named_parameters() if name in ("bias", "experts.bias")]
    return any(not bias.is_meta and not bias.any() for bias in biases)


def check_maps_learn(config: ExperimentConfig, student: Recognizer) -> None:
    """Refuse a loss term on what a student's frozen backbone alone computes.

    Raises:
        ValueError: nothing that the term compares would ever change.
    """
    if isinstance(student.config, FeaturesConfig):
        return
    learning = [name for name, value in student.named_parameters() if value.requires_grad]
    before_head = any(not name.startswith(student.head_prefix) for name in learning)
    backbone = any(name.startswith("backbone.") and not name.startswith(student.head_prefix) for name in learning)
    terms = {"pixel": config.loss.pixel and not backbone, "embedding": config.loss.embedding and not before_head}
    idle = next((name for name, is_idle in terms.items() if is_idle), None)
    if idle:
        raise ValueError(
            f"loss.{idle} compares what the student computes before its classifier, but nothing learns there, as "
            f"student.frozen_stages = {getattr(student.config, 'frozen_stages', 0)} keeps the whole backbone; freeze "
            f"fewer stages, or compare scores (loss.clip, loss.prediction) in place of loss.{idle}."
        )


def share_head(student: Recognizer, teacher: Recognizer) -> None:
    """Put the teacher's classifier in place of the student's. Both train its weights.

    Raises:
        ValueError: the two classifiers differ in form, or contain batch norm.
    """
    _check_same_form(student, teacher)
    _check_no_batch_norm(teacher, advice="or leave teacher.shares_head out")
    student.head = teacher.head


def take_head(student: Recognizer, teacher: Recognizer, *, batch_norm: BatchNormChoice) -> None:
    """Copy the teacher's weights into the student's classifier and freeze it.

    With a copy the student's checkpoint is complete, and the teacher stays outside of the trained module.

    Args:
        batch_norm: of the teacher; the copy normalizes with running statistics.

    Raises:
        ValueError: the two classifiers differ in form, or would normalize differently.
    """
    _check_same_form(student, teacher)
    if batch_norm == "batch_stats":
        _check_no_batch_norm(teacher, advice="or teacher.batch_norm = running_stats")
    student.head.load_state_dict(teacher.head.state_dict())
    student.head.requires_grad_(False)


def _check_same_form(student: Recognizer, teacher: Recognizer) -> None:
    for model in (student, teacher):
        if isinstance(model.config, PythonConfig):
            raise ValueError(
                "teacher.shares_head puts one classifier after two networks: expected families whose classifier this "
                f"program makes, found {network_name(model.config)}; leave teacher.shares_head out."
            )
    forms = [_form(model) for model in (student, teacher)]
    if forms[0] != forms[1]:
        raise ValueError(
            "teacher.shares_head needs classifiers of the same form, found "
            f"{forms[0]} (student) and {forms[1]} (teacher); choose aggregators with the same embedding size and the "
            "same classifier, or leave teacher.shares_head out."
        )


def _check_no_batch_norm(teacher: Recognizer, *, advice: str) -> None:
    if any(isinstance(module, _BatchNorm) for module in teacher.head.modules()):
        raise ValueError(
            "teacher.shares_head is one classifier for both networks, but batch norm in it would normalize each "
            "network's scores with another batch: expected a classifier without batch norm, found "
            f"classifier.gate_probabilities; set that to false, {advice}."
        )


def check_each_is_trainable(student: Recognizer, teacher: Recognizer | None, loss: nn.Module) -> None:
    """Refuse networks without trainable weights; a shared head counts as the student's.

    Args:
        teacher: a joint one.

    Raises:
        ValueError: the student with its loss, or the teacher, has no trainable parameter of its own.
    """
    own = {id(value) for value in (*student.parameters(), *loss.parameters()) if value.requires_grad}
    of_teacher = teacher.parameters() if teacher is not None else ()
    is_trainable = any(value.requires_grad and id(value) not in own for value in of_teacher)
    idle = "student" if not own else "teacher" if teacher is not None and not is_trainable else None
    if idle:
        model = student if teacher is None or idle == "student" else teacher
        raise ValueError(
            f"the {idle} has no weights of its own to train: expected weights beside the classifier, which both share "
            f"under teacher.shares_head, found none in {network_name(model.config)}; leave "
            "teacher.shares_head out, or choose another aggregator."
        )


def _form(model: Recognizer) -> str:
    """The head's class, the shapes of its weights, and its settings if it has any."""
    parts = [f"{name} {list(value.shape)}" for name, value in model.head.state_dict().items()]
    if isinstance(model.config, (AggregatedConfig, FeaturesConfig)):
        settings = answering_settings(model.config.classifier, prefix="classifier")
        parts += [f"{name} {value}" for name, value in settings.items()]
    return f"{type(model.head).__name__} with {', '.join(parts)}"
