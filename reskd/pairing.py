"""Which teacher may teach which student, and how the two share a classifier."""

from __future__ import annotations

from torch import nn

from reskd.config import ExperimentConfig
from reskd.evaluation.metrics import Scores
from reskd.models.aggregator_config import answering_settings
from reskd.models.config import AggregatedConfig, FeaturesConfig
from reskd.models.recognizer import Recognizer


def check_scores(config: ExperimentConfig, teacher: Recognizer, *, scores: Scores) -> None:
    """Refuse a teacher whose class scores mean something else than the student's, or nothing at all.

    Args:
        scores: what the teacher's logits were trained to be.

    Raises:
        ValueError: a loss or the student takes its scores or its head from such a teacher.
    """
    assert config.teacher is not None
    if config.loss.logit_map and scores == "sigmoid":
        raise ValueError(
            "loss.logit_map compares softmax scores, and the teacher's stage was trained with loss.task = sigmoid_bce; "
            "expected a teacher trained with softmax_ce or random_label_ce, or loss.pixel in place of loss.logit_map."
        )
    asked = [f"loss.{name}" for name in ("logit_map", "prediction") if getattr(config.loss, name)]
    asked += ["teacher.shares_head"] if config.teacher.shares_head else []
    if not asked:
        return
    if scores != config.loss.scores:
        raise ValueError(
            f"{asked[-1]} takes both networks' scores for the same: expected a teacher with {config.loss.scores} "
            f"scores, as loss.task = {config.loss.task} trains them, found one whose stage trained {scores} scores; "
            "give both stages one loss.task."
        )
    if config.teacher.update == "frozen" and _was_never_trained(teacher.head):
        raise ValueError(
            f"{asked[0]} asks the teacher's head for scores, and this one was never trained (its biases are all 0); "
            "expected the checkpoint of a teacher trained on these classes, not of a backbone."
        )


def _was_never_trained(head: nn.Module) -> bool:
    """New linear heads have biases of 0 to the last bit, trained ones never. Of other heads nothing is known."""
    bias_K = getattr(head, "bias", None)
    return bias_K is not None and not bias_K.is_meta and not bias_K.any()


def share_head(student: Recognizer, teacher: Recognizer) -> None:
    """One classifier in both, the teacher's: the student's own is thrown away. Its weights may go on learning.

    Raises:
        ValueError: the two classifiers have other forms.
    """
    _check_same_form(student, teacher)
    student.head = teacher.head


def take_head(student: Recognizer, teacher: Recognizer) -> None:
    """The student's classifier gets the teacher's weights, a copy, and is frozen.

    A copy, so that the student's file is whole and the teacher is outside of whatever trains the student.

    Raises:
        ValueError: the two classifiers have other forms.
    """
    _check_same_form(student, teacher)
    student.head.load_state_dict(teacher.head.state_dict())
    student.head.requires_grad_(False)


def _check_same_form(student: Recognizer, teacher: Recognizer) -> None:
    forms = [_form(model) for model in (student, teacher)]
    if forms[0] != forms[1]:
        raise ValueError(
            "teacher.shares_head needs one form of classifier: expected the same of both, found "
            f"{forms[0]} (student) and {forms[1]} (teacher); choose aggregators of one code size and one classifier, "
            "or leave teacher.shares_head out."
        )


def _form(model: Recognizer) -> str:
    """Its class, its settings where it has any, and the shapes of what it holds."""
    parts = [f"{name} {list(value.shape)}" for name, value in model.head.state_dict().items()]
    if isinstance(model.config, (AggregatedConfig, FeaturesConfig)):
        settings = answering_settings(model.config.classifier, prefix="classifier")
        parts += [f"{name} {value}" for name, value in settings.items()]
    return f"{type(model.head).__name__} with {', '.join(parts)}"
