"""The student's loss, a weighted sum: L_cls + alpha * MSE(Phi(f_s), f_t), equation (1) of ResKD, and variants.

"Efficient Video Classification Using Fewer Frames" uses L_CE + L_rep + L_pred: task, embedding and prediction here.
Distillation terms send gradients to the student only.

Shape letters: N clips, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

from reskd.losses.auto_weights import AutoWeights
from reskd.losses.config import LossConfig
from reskd.losses.embedding import check_embeddings, embedding_loss
from reskd.losses.extra_terms import ExtraTerms
from reskd.losses.intermediate import check_blocks, intermediate_loss
from reskd.losses.logit_map import logit_map_loss
from reskd.losses.pixel import Projection, check_widths, pixel_loss
from reskd.losses.prediction import prediction_loss
from reskd.losses.scores import score_loss
from reskd.losses.task import TASK_LOSSES
from reskd.losses.temporal_alignment import Timestamps, at_timestamps, match_timestamps
from reskd.outputs import RecognizerOutput


@dataclass(frozen=True)
class FeaturePair:
    """Output sizes of student and teacher, known before the first clip.

    Attributes:
        student_dim, teacher_dim: channels of the last feature maps; None where a network has none.
        student_timestamps, teacher_timestamps: of each feature frame (temporal_alignment.py); empty without maps.
        student_embedding_dim, teacher_embedding_dim: E of each network; None where a network has no embedding.
        student_num_blocks, teacher_num_blocks: blocks of frames whose states an aggregator gives; 0 where it has none.
    """

    student_dim: int | None
    teacher_dim: int | None
    student_timestamps: Timestamps
    teacher_timestamps: Timestamps
    student_embedding_dim: int | None = None
    teacher_embedding_dim: int | None = None
    student_num_blocks: int = 0
    teacher_num_blocks: int = 0


class LossTerms(NamedTuple):
    """One step's loss.

    Attributes:
        total: the weighted sum, to call backward on.
        unweighted: term name -> value before its weight, outside the graph. All are fp32 scalars on the device.
        weighted: term name -> value with its weight and graph; ``total`` is their sum.
        balanced: the weighted task, then each term with alpha = auto at weight 1, with their graphs; empty without one.
        places: term -> the tensor at which its gradient is measured for that, where this is not the output of the
            student that all terms share: the projected map, as a projection starts at 0 and passes no gradient on.
    """

    total: Tensor
    unweighted: dict[str, Tensor]
    weighted: dict[str, Tensor]
    balanced: dict[str, Tensor]
    places: dict[str, Tensor]


class DistillationLoss(nn.Module):
    """The student's loss, a module so that DDP, the optimizer and the checkpoint include the projection.

    It holds no classifier: each recognizer computes its own logit map, so no parameter has two owners.

    Args:
        pair: of student and teacher; without it, equal channels and timestamps are assumed.

    Raises:
        ValueError: the terms cannot compare these networks.
    """

    def __init__(self, config: LossConfig, pair: FeaturePair | None = None) -> None:
        super().__init__()
        self.config = config
        self.auto = AutoWeights(config.auto_terms, config.auto_steps) if config.auto_terms else None
        self.class_weights_K: Tensor | None
        self.register_buffer("class_weights_K", None, persistent=False)  # they follow from the training list
        self.timestamps = None
        self.projection: Projection | None = None
        self.extra = ExtraTerms(config.terms, pair) if config.terms else None
        has_projection = config.pixel is not None and config.pixel.projection == "linear"
        if pair is None:
            if has_projection or config.time != "equal":
                raise ValueError(
                    "loss.pixel.projection and loss.time depend on both networks: expected a FeaturePair, found none; "
                    "give one, as build_networks does."
                )
            return
        if config.embedding is not None:
            check_embeddings(student_dim=pair.student_embedding_dim, teacher_dim=pair.teacher_embedding_dim)
        if config.intermediate is not None:
            check_blocks(
                student_blocks=pair.student_num_blocks,
                teacher_blocks=pair.teacher_num_blocks,
                student_dim=pair.student_embedding_dim,
                teacher_dim=pair.teacher_embedding_dim,
            )
        if not config.frame_terms:
            return
        student_dim, teacher_dim = _map_widths(config, pair)
        self.timestamps = match_timestamps(
            config.time, student=pair.student_timestamps, teacher=pair.teacher_timestamps
        )
        if has_projection:
            self.projection = Projection(student_dim, teacher_dim)
        elif config.pixel is not None:
            check_widths(student_dim=student_dim, teacher_dim=teacher_dim)

    def forward(self, student: RecognizerOutput, targets: Tensor, teacher: RecognizerOutput | None) -> LossTerms:
        """Task loss of the student, plus the terms in the config.

        Args:
            student: with a graph.
            targets: int64 (N,) class indices, bool (N, K) label sets (not for softmax_ce), or their shares (N, K) in
                mixed clips.
            teacher: None where no term needs it.

        Raises:
            ValueError: a term needs a teacher and there is none, or the outputs cannot be compared.
        """
        # The task stays in the graph even with weight 0: DDP waits for a gradient of every parameter, and the head may
        # get no other.
        values, projected = {"task": self.task(student.logits_NK, targets)}, self._projected(student)
        for name in self.config.distillation_terms:
            if teacher is None:
                raise ValueError(
                    f"loss.{name} compares the student with a teacher: expected a teacher, found none; "
                    f"add one to the config, or leave out loss.{name}."
                )
            if name not in self.config.terms:
                values[name] = getattr(self, f"_{name}")(projected, teacher)
        if self.extra is not None:
            values |= {name: self.extra.value(name, student, teacher, targets) for name in self.config.terms}
        weights = self._weights()
        weighted = {name: weights[name] * value for name, value in values.items()}
        total = weighted["task"]
        for name, term in weighted.items():
            total = total if name == "task" else total + term
        balanced = {"task": weighted["task"]} | {name: values[name] for name in self.auto.names} if self.auto else {}
        places: dict[str, Tensor] = {}
        if "pixel" in balanced and projected is not student and projected.features_NTDHW is not None:
            places["pixel"] = projected.features_NTDHW
        return LossTerms(total, {name: value.detach() for name, value in values.items()}, weighted, balanced, places)

    def _projected(self, student: RecognizerOutput) -> RecognizerOutput:
        """The output with its map projected, which only the pixel term reads; the same one without a projection."""
        if self.projection is None or student.features_NTDHW is None:
            return student
        return student._replace(features_NTDHW=self.projection(student.features_NTDHW))

    def _weights(self) -> dict[str, Tensor | float]:
        """Term -> its weight in this step; an automatic one is a tensor, so that nothing waits for it."""
        given = {name: weight for name, weight in self.config.weights.items() if weight != "auto"}
        return given | (self.auto.by_name() if self.auto else {})

    def weights(self) -> dict[str, float]:
        """Term -> its weight in this step, as a number; waits for the device where one is automatic."""
        return {name: float(weight) for name, weight in self._weights().items()}

    def end_step(self) -> None:
        """Automatic weights change between steps only, so that all passes of a step share them."""
        if self.auto is not None:
            self.auto.update()

    def task(self, logits_NK: Tensor, targets: Tensor) -> Tensor:
        """The unweighted label loss of any network's logits."""
        settings = {"label_smoothing": self.config.label_smoothing} if self.config.label_smoothing else {}
        task = TASK_LOSSES[self.config.task]
        loss: Tensor = task(logits_NK, targets, class_weights_K=self.class_weights_K, **settings)
        return loss

    def _pixel(self, student: RecognizerOutput, teacher: RecognizerOutput) -> Tensor:
        """``student``: with its map projected."""
        config, features_NTDhw = self.config.pixel, student.features_NTDHW
        assert config is not None
        if features_NTDhw is None or teacher.features_NTDHW is None:
            raise ValueError(_no_maps("pixel"))
        teacher_NTDHW = at_timestamps(teacher.features_NTDHW.detach(), self.timestamps)
        return pixel_loss(features_NTDhw, teacher_NTDHW, backend=config.backend)

    def comparable_maps(self, student_NTdhw: Tensor, teacher_NTDHW: Tensor) -> tuple[Tensor, Tensor]:
        """The student's map projected, if there is a projection, and the teacher's at the student's timestamps."""
        projected_NTDhw = student_NTdhw if self.projection is None else self.projection(student_NTdhw)
        return projected_NTDhw, at_timestamps(teacher_NTDHW, self.timestamps)

    def _logit_map(self, student: RecognizerOutput, teacher: RecognizerOutput) -> Tensor:
        assert self.config.logit_map is not None
        if student.logit_map_NTKHW is None or teacher.logit_map_NTKHW is None:
            raise ValueError(
                "loss.logit_map needs class scores at every location: expected recognizers with gives_logit_map = "
                "True, found one without; build_networks sets it."
            )
        teacher_NTKHW = at_timestamps(teacher.logit_map_NTKHW.detach(), self.timestamps)
        return logit_map_loss(student.logit_map_NTKHW, teacher_NTKHW, temperature=self.config.logit_map.temperature)

    def _frame(self, student: RecognizerOutput, teacher: RecognizerOutput) -> Tensor:
        assert self.config.frame is not None
        if student.frame_logits_NTK is None or teacher.frame_logits_NTK is None:
            raise ValueError(
                "loss.frame needs class scores of every frame: expected recognizers with gives_frame_logits = True, "
                "found one without; build_networks sets it."
            )
        as_maps_NTK11 = teacher.frame_logits_NTK.detach()[..., None, None]
        teacher_NTK = at_timestamps(as_maps_NTK11, self.timestamps).flatten(2)
        return score_loss(student.frame_logits_NTK, teacher_NTK, temperature=self.config.frame.temperature)

    def _clip(self, student: RecognizerOutput, teacher: RecognizerOutput) -> Tensor:
        assert self.config.clip is not None
        return score_loss(student.logits_NK, teacher.logits_NK, temperature=self.config.clip.temperature)

    def _embedding(self, student: RecognizerOutput, teacher: RecognizerOutput) -> Tensor:
        assert self.config.embedding is not None
        if student.embedding_NE is None or teacher.embedding_NE is None:
            check_embeddings(student_dim=_embedding_dim(student), teacher_dim=_embedding_dim(teacher))
        assert student.embedding_NE is not None and teacher.embedding_NE is not None
        return embedding_loss(student.embedding_NE, teacher.embedding_NE, reduction=self.config.embedding.reduction)

    def _intermediate(self, student: RecognizerOutput, teacher: RecognizerOutput) -> Tensor:
        mine, theirs = student.block_states_NGE, teacher.block_states_NGE
        if mine is None or theirs is None:
            raise ValueError(
                "loss.intermediate needs states of blocks: expected recognizers with gives_block_states = True, found "
                "one without; build_networks sets it."
            )
        assert student.block_valid_NG is not None and teacher.block_valid_NG is not None
        return intermediate_loss(
            mine, theirs, student_valid_NG=student.block_valid_NG, teacher_valid_NG=teacher.block_valid_NG
        )

    def _prediction(self, student: RecognizerOutput, teacher: RecognizerOutput) -> Tensor:
        assert self.config.prediction is not None
        distance = self.config.prediction.distance
        return prediction_loss(student.logits_NK, teacher.logits_NK, distance=distance, scores=self.config.scores)


def _map_widths(config: LossConfig, pair: FeaturePair) -> tuple[int, int]:
    """(student's, teacher's) channels; raises ValueError where either has no feature maps."""
    if pair.student_dim is None or pair.teacher_dim is None:
        raise ValueError(_no_maps(config.frame_terms[0]))
    return pair.student_dim, pair.teacher_dim


def _no_maps(term: str) -> str:
    return (
        f"loss.{term} compares feature maps: expected networks that see pixels, found one that sees features; use "
        f"loss.embedding or loss.prediction in place of loss.{term}."
    )


def _embedding_dim(output: RecognizerOutput) -> int | None:
    return None if output.embedding_NE is None else output.embedding_NE.shape[1]
