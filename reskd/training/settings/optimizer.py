"""Settings of the optimizer: reskd/training/optimizer.py."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dali_pipes.strict_config import StrictConfig

Share = Annotated[float, Field(ge=0, lt=1)]


class OptimizerConfig(StrictConfig):
    name: Literal["sgd", "adamw"] = Field("sgd", description="update rule")
    lr: float = Field(gt=0, description="peak learning rate at this config's global batch size; never rescaled")
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd")
    nesterov: bool = Field(False, description="Nesterov momentum, of sgd")
    betas: tuple[Share, Share] = Field((0.9, 0.999), description="of adamw")
    weight_decay: float = Field(1e-4, ge=0, description="of convolution and linear weights")
    also_decayed: tuple[Literal["biases", "norms"], ...] = Field(
        (),
        description="what else weight_decay applies to: biases, and the parameters of normalization layers. Plain SGD, "
        "as in the public code of SlowOnly, decays both",
    )
    bias_lr_factor: float = Field(
        2.0, gt=0, description="learning rate of biases relative to weights; not for H-RNN's LSTMs"
    )
    backbone_lr_factor: float = Field(
        1.0, gt=0, description="learning rate of backbones relative to the head; 0.1 in Video Swin's recipe"
    )
    position_table_lr_factor: float | None = Field(
        None,
        gt=0,
        description="learning rate of attention's position tables relative to the head; default: as their backbone's. "
        "1 in Video Swin's public recipe, whose backbone_lr_factor does not reach them",
    )
    layer_decay: float | None = Field(
        None,
        gt=0,
        le=1,
        description="learning rate of each layer of a backbone relative to the next one, up to the head "
        "(arXiv:2003.10555, arXiv:2106.08254): 0.65 to 0.9 for finetuning; a layer is a residual or attention block; "
        "default: all alike",
    )
    implementation: Literal["auto", "torch", "apex"] = Field(
        "auto", description="auto is torch; apex needs NVIDIA's apex (not PyPI's package of that name)"
    )
