"""Settings of a network that the user's own code makes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from reskd.extensions.locate import called_name, check_location
from reskd.models.common_config import AnyPixelConfig

InputLayout = Literal["NCTHW", "NTCHW", "BCHW"]
FeatureLayout = Literal["NDTHW", "NTDHW", "NTHWD", "BDHW", "BHWD"]
_SAME_ORDER: dict[InputLayout, FeatureLayout] = {"NCTHW": "NDTHW", "NTCHW": "NTDHW", "BCHW": "BDHW"}


class PythonConfig(AnyPixelConfig):
    """Any torch.nn.Module, made by a function of the user's."""

    family: Literal["python"] = Field(description="a network that a Python function makes")
    build: Annotated[str, AfterValidator(check_location)] = Field(
        description="the function: path/to/file.py:function, package.module:function, or the name of an installed "
        "network; it is called with num_classes and arguments, and returns a torch.nn.Module"
    )
    arguments: dict[str, Any] = Field({}, description="passed to the function by keyword")
    input: InputLayout = Field(
        "NCTHW",
        description="order of what the network takes, normalized pixels: NCTHW (torchvision's video networks), NTCHW "
        "(Hugging Face's), or BCHW, every frame on its own: the scores of a clip are then the mean of its frames'",
    )
    features: str | None = Field(
        None,
        min_length=1,
        description="name of the module whose output is the last feature map, as in named_modules(); default: what the "
        "network returns as features, if it does",
    )
    features_layout: FeatureLayout | None = Field(
        None,
        description="order of the feature map: NDTHW, NTDHW or NTHWD, or BDHW or BHWD where B is clips times frames; "
        "default: as the input",
    )
    head: str | None = Field(
        None,
        min_length=1,
        description="name of the last layer, which weights_head and optimizer.backbone_lr_factor leave out; default: "
        "the last linear layer or convolution with as many outputs as there are classes",
    )

    @property
    def architecture(self) -> dict[str, Any]:
        """The settings that change what given weights compute; of the function's location the folder does not count."""
        given = super().architecture
        return given | {"build": called_name(self.build), "features_layout": self.map_layout}

    @property
    def map_layout(self) -> FeatureLayout:
        """The order of the feature map's dimensions."""
        return self.features_layout or _SAME_ORDER[self.input]

    @model_validator(mode="after")
    def _layouts_fit(self) -> PythonConfig:
        if self.input == "BCHW" and self.map_layout[0] != "B":
            raise ValueError(
                f"features_layout: expected BDHW or BHWD for a network that takes single frames (input: BCHW), found "
                f"{self.features_layout}"
            )
        return self
