"""Settings of how networks run. None is on before a GPU has shown that it pays: see docs/decisions.md."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from dali_pipes.config import StrictConfig


class RuntimeConfig(StrictConfig):
    compile: Literal["off", "teacher", "all"] = Field(
        "off",
        description="torch.compile of the teacher alone, or of both networks: fewer and fused kernels after a minute "
        "or more of compiling at the start. Sums are taken in another order",
    )
    cuda_graphs: bool = Field(
        False,
        description="replay the compiled networks as CUDA graphs, which saves the launches; needs compile and a GPU",
    )
    tf32: Literal["convolutions", "all", "off"] = Field(
        "convolutions",
        description="which fp32 products a GPU from Ampere on rounds to TF32, 10 bits of mantissa; convolutions is "
        "torch's own default. Without effect on half precision and CPUs",
    )
    sync_batch_norm: bool = Field(
        False,
        description="networks in training normalize with the batch of all ranks, not of their own; needs GPUs. The "
        "papers' code does not",
    )

    @model_validator(mode="after")
    def _graphs_are_of_compiled_networks(self) -> RuntimeConfig:
        if self.cuda_graphs and self.compile == "off":
            raise ValueError("cuda_graphs: expected compile to be teacher or all, found off; set runtime.compile too")
        return self
