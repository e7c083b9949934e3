"""Settings of recognizers and teachers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from reskd.extensions.locate import called_name
from reskd.models.aggregators.config import AggregatorConfig, ClassifierConfig, answering_settings
from reskd.models.common_config import KEPT_PARTS, AnyBackboneConfig, AnyRecognizerConfig
from reskd.models.python_config import PythonConfig
from reskd.models.timm_catalog import is_timm, pixel_statistics, timm_settings

ResNetName = Literal["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]
BackboneName = Literal[ResNetName, "mobilenet_v2"]
_TORCHVISION: tuple[str, ...] = get_args(BackboneName)
_BACKBONE = "a torchvision network without its pooling and classifier, or timm/NAME: one of timm's with a feature map"


def _known_backbone(name: str) -> str:
    if is_timm(name):
        timm_settings(name)
    elif name not in _TORCHVISION:
        raise ValueError(f"should be {', '.join(map(repr, _TORCHVISION))} or 'timm/NAME', found {name!r}")
    return name


def _number_of_stages(value: object) -> object:
    # One sentence; the members of a union would be named one by one.
    if value != "all" and not (type(value) is int and 0 <= value <= 1000):
        raise ValueError(f"expected a number of stages, or all, found {str(value)[:200]!r}")
    return value


FrozenStages = Annotated[int | Literal["all"], BeforeValidator(_number_of_stages)]
FrameBackboneName = Annotated[str, AfterValidator(_known_backbone)]
_Stride = Literal[1, 2]
StageStrides = tuple[_Stride, _Stride, _Stride, _Stride]


class _AnyFrameConfig(AnyBackboneConfig):
    """Settings of all families on pixels with a 2-D backbone."""

    frozen_stages: FrozenStages = Field(
        0,
        description="the first stages of the backbone, which are not trained and stay in eval mode: a number (a ResNet "
        "has 4, its stem belongs to the first), or all for the whole backbone, a linear probe",
    )

    @model_validator(mode="before")
    @classmethod
    def _as_the_weights_saw_pixels(cls, settings: Any) -> Any:
        """The default statistics of a timm network are those of its weights."""
        backbone = settings.get("backbone") if isinstance(settings, Mapping) else None
        if not isinstance(backbone, str) or not is_timm(backbone) or {"pixel_mean", "pixel_std"} <= settings.keys():
            return settings
        try:
            mean, std = pixel_statistics(backbone, str(settings.get("weights")))
        except ValueError:  # the backbone's own validator says it
            return settings
        return {"pixel_mean": mean, "pixel_std": std, **settings}


class _AnyPooledConfig(AnyBackboneConfig):
    """Settings of all families whose head takes the mean of a feature map."""

    dropout: float = Field(0.5, ge=0, lt=1, description="before the linear head, in training")
    head_init_std: float = Field(0.001, gt=0, description="standard deviation of the new head's weights; biases are 0")

    @property
    def architecture(self) -> dict[str, Any]:
        return {key: value for key, value in super().architecture.items() if key not in ("dropout", "head_init_std")}


class TsnConfig(_AnyPooledConfig, _AnyFrameConfig):
    """A 2-D backbone over every frame, averaged over frames (TSN, arXiv:1608.00859)."""

    family: Literal["tsn"] = Field("tsn", description="every frame on its own, averaged")
    backbone: FrameBackboneName = Field(description=_BACKBONE)
    stage_strides: StageStrides | None = Field(
        None,
        description="strides of the four stages of a ResNet, or of a timm network that reduces the picture by 4, 8, 16 "
        "and 32; [1, 1, 2, 2] is R50-S of the paper; default: the network's own, [1, 2, 2, 2]",
    )

    @property
    def architecture(self) -> dict[str, Any]:
        """As above; a ResNet's default strides are filled in."""
        return super().architecture | {"stage_strides": list(self.stage_strides or (1, 2, 2, 2))}

    @model_validator(mode="after")
    def _strides_fit(self) -> TsnConfig:
        if self.stage_strides is None or is_timm(self.backbone):
            return self  # a network of timm says itself which strides it can have
        if not self.backbone.startswith("resnet"):
            raise ValueError(
                f"stage_strides: expected a ResNet or timm/NAME, found {self.backbone}; leave stage_strides out"
            )
        if self.backbone in ("resnet18", "resnet34") and self.stage_strides[0] != 1:
            # Their first stage keeps the width, so torchvision gives it no projection that could stride.
            raise ValueError(
                f"stage_strides: expected 1 for the first stage of {self.backbone}, found {self.stage_strides[0]}; "
                "stride a later stage, or use a deeper ResNet"
            )
        return self


class TsmConfig(_AnyPooledConfig, _AnyFrameConfig):
    """A 2-D ResNet whose blocks see some channels of the frames before and after (TSM, arXiv:1811.08383)."""

    family: Literal["tsm"] = Field(description="channels shifted in time")
    backbone: ResNetName = Field(description="a torchvision network without its pooling and classifier")
    shift_divisor: int = Field(
        8, ge=2, le=64, description="1/shift_divisor of the channels comes from the next frame, as many from the last"
    )


class SlowOnlyConfig(_AnyPooledConfig):
    """A ResNet inflated in its last two stages, without stride in time (the slow pathway of arXiv:1812.03982)."""

    family: Literal["slow_only"] = Field(description="a ResNet with convolutions over time in its last two stages")
    backbone: Literal["resnet50", "resnet101", "resnet152"] = Field(description="the torchvision network to inflate")


class SwinConfig(_AnyPooledConfig):
    """Video Swin (arXiv:2106.13230), torchvision's."""

    family: Literal["swin"] = Field(description="attention in shifted windows of space and time")
    backbone: Literal["swin3d_t", "swin3d_s", "swin3d_b"] = Field(description="torchvision's network")
    window: Literal["published", "masked"] = Field(
        "published",
        description="windows that do not fit the map: published uses biases of other offsets and attends to padding, "
        "as the published code does; masked uses each offset's own bias and masks padding",
    )
    stochastic_depth: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="probability that training drops the last block; it falls linearly to 0 for the first",
    )

    @property
    def architecture(self) -> dict[str, Any]:
        return {key: value for key, value in super().architecture.items() if key != "stochastic_depth"}


class AggregatedConfig(_AnyFrameConfig):
    """A 2-D backbone over every frame; an aggregator makes one embedding of the frames' spatial means."""

    family: Literal["aggregated"] = Field(description="every frame on its own, then an aggregator")
    backbone: FrameBackboneName = Field(description=_BACKBONE)
    normalize_frames: bool = Field(False, description="scale each frame's mean to unit length before the aggregator")
    aggregator: AggregatorConfig = Field(description="from frames to one embedding")
    classifier: ClassifierConfig = Field(description="from the embedding to class scores")

    @property
    def architecture(self) -> dict[str, Any]:
        return _flat(super().architecture, self)


class FeaturesConfig(AnyRecognizerConfig):
    """An aggregator on frame features extracted before."""

    family: Literal["features"] = Field(description="features of frames, then an aggregator")
    groups: dict[str, Annotated[int, Field(ge=1, le=1_000_000)]] = Field(
        {"rgb": 1024, "audio": 128},
        min_length=1,
        description="feature groups in the order of data.groups, each with the length of a frame's vector",
    )
    normalize_frames: bool = Field(True, description="scale each frame's whole vector to unit length")
    aggregator: AggregatorConfig = Field(description="from frames to one embedding")
    classifier: ClassifierConfig = Field(description="from the embedding to class scores")

    @property
    def architecture(self) -> dict[str, Any]:
        # A list, because the order of groups matters.
        groups = [list(group) for group in self.groups.items()]
        return _flat(super().architecture, self) | {"groups": groups}

    @field_validator("groups")
    @classmethod
    def _names_are_plain(cls, groups: dict[str, int]) -> dict[str, int]:
        if bad := [name for name in groups if not name.isidentifier()]:
            raise ValueError(f"expected names of letters, digits and _, found {bad[0]!r}; rename the feature group")
        return groups


def _flat(settings: dict[str, Any], config: AggregatedConfig | FeaturesConfig) -> dict[str, Any]:
    rest = {key: value for key, value in settings.items() if key not in ("aggregator", "classifier")}
    aggregator = answering_settings(config.aggregator, prefix="aggregator")
    return rest | aggregator | answering_settings(config.classifier, prefix="classifier")


def _family(settings: Any) -> str:
    """The discriminator's tag; a config without a family is a TSN."""
    found = settings.get("family", "tsn") if isinstance(settings, Mapping) else getattr(settings, "family", "tsn")
    return str(found)


PooledRecognizerConfig = TsnConfig | TsmConfig | SlowOnlyConfig | SwinConfig
PixelRecognizerConfig = PooledRecognizerConfig | AggregatedConfig | PythonConfig
RecognizerConfig = Annotated[
    Annotated[TsnConfig, Tag("tsn")]
    | Annotated[TsmConfig, Tag("tsm")]
    | Annotated[SlowOnlyConfig, Tag("slow_only")]
    | Annotated[SwinConfig, Tag("swin")]
    | Annotated[AggregatedConfig, Tag("aggregated")]
    | Annotated[PythonConfig, Tag("python")]
    | Annotated[FeaturesConfig, Tag("features")],
    Discriminator(
        _family,
        custom_error_type="unknown_family",
        custom_error_message="family: expected one of tsn, tsm, slow_only, swin, aggregated, python and features",
    ),
]


def network_name(config: RecognizerConfig) -> str:
    """In words: "resnet18", "resnet18 and h_rnn", "h_rnn on rgb and audio", or "net.py:build"."""
    if isinstance(config, FeaturesConfig):
        return f"{config.aggregator.kind} on {' and '.join(config.groups)}"
    if isinstance(config, PythonConfig):
        return called_name(config.build)
    if isinstance(config, AggregatedConfig):
        return f"{config.backbone} and {config.aggregator.kind}"
    return config.backbone


def parse_recognizer(settings: Mapping[str, Any]) -> RecognizerConfig:
    """A recognizer's config from plain values; raises pydantic.ValidationError."""
    config: RecognizerConfig = TypeAdapter(RecognizerConfig).validate_python(settings)
    return config


def without_kept_parts(config: RecognizerConfig) -> RecognizerConfig:
    """The same network, all of which learns where it is trained."""
    return config.model_copy(update={key: value for key, value in KEPT_PARTS.items() if hasattr(config, key)})


def difference(mine: RecognizerConfig, trained: Mapping[str, Any]) -> tuple[str, Any, Any] | None:
    """The first (setting, mine, theirs) that changes what weights trained with ``trained`` compute, or None.

    Raises:
        ValueError: ``trained`` is not a recognizer's settings.
    """
    try:
        theirs = parse_recognizer(trained).architecture
    except ValidationError as error:
        raise ValueError(f"expected a recognizer's settings, found {' '.join(str(error).split())}") from None
    for key, value in mine.architecture.items():
        if theirs.get(key) != value:
            return key, value, theirs.get(key)
    return None
