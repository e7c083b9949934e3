"""Settings of the recipes that need torch: mixed clips and averaged weights, reskd/training/recipes."""

from __future__ import annotations

from pydantic import Field, model_validator

from dali_pipes.strict_config import StrictConfig


class MixingConfig(StrictConfig):
    mixup_alpha: float | None = Field(
        None,
        gt=0,
        le=1000,
        description="blend two clips by shares of Beta(alpha, alpha): 0.1 to 0.4 in the paper of mixup, 0.8 in recipes "
        "of transformers; default: no mixup",
    )
    cutmix_alpha: float | None = Field(
        None,
        gt=0,
        le=1000,
        description="paste a box of one clip into the other, whose area has a share of Beta(alpha, alpha): 1 in the "
        "paper of CutMix; default: no CutMix",
    )
    probability: float = Field(1.0, gt=0, le=1, description="share of the pairs of clips that are mixed")
    cutmix_share: float | None = Field(
        None, gt=0, lt=1, description="of the mixed pairs, the share for CutMix where both are on; default: 0.5"
    )

    @model_validator(mode="after")
    def _something_is_mixed(self) -> MixingConfig:
        if self.mixup_alpha is None and self.cutmix_alpha is None:
            raise ValueError("expected mixup_alpha, cutmix_alpha or both; set one, or remove the group")
        if self.cutmix_share is not None and None in (self.mixup_alpha, self.cutmix_alpha):
            raise ValueError("cutmix_share chooses between mixup and CutMix; set both alphas, or remove it")
        return self


def check_mixing(task: str, *, on_features: bool) -> None:
    """Raises ValueError where labels or data cannot be mixed; without a subject, for a setting's error."""
    if task not in ("softmax_ce", "sigmoid_bce"):
        raise ValueError(
            f"training.mixing gives each clip the labels of two, in shares, and loss.task = {task} takes whole labels "
            "only; expected softmax_ce or sigmoid_bce, or remove training.mixing"
        )
    if on_features:
        raise ValueError(
            "training.mixing mixes pixels, and data.kind is features, whose videos have different numbers of frames; "
            "remove training.mixing"
        )


class AverageConfig(StrictConfig):
    decay: float = Field(
        0.9999,
        ge=0,
        lt=1,
        description="share of the average that a step keeps: it spans about 1 / (1 - decay) steps; 0.9999 for runs of "
        "100,000 steps and more, 0.99 for a few hundred",
    )
    warmup: bool = Field(
        True, description="keep less in the first steps, at most (1 + step) / (10 + step), as TensorFlow does"
    )

    def decay_at(self, num_steps: int) -> float:
        """The share of the average that the update of step number ``num_steps``, counted from 1, keeps."""
        return min(self.decay, (1 + num_steps) / (10 + num_steps)) if self.warmup else self.decay
