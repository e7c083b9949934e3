"""Show the contents of a weight file and the network tensor that each of its tensors fills.

    reskd import-weights weights.pth
    reskd import-weights weights.pth family=tsm backbone=resnet50 --output weights.safetensors
    reskd import-weights model_best.pth.tar backbone=timm/resnet18 weights_head=keep

Reads a checkpoint of this project, of mmaction2, of timm's training script or of the paper's code, a state dict of
torchvision or timm, or a safetensors file. No code in the file is run. Prints a row for every tensor of the file and of
the network, and the settings that a config needs. Settings that the file does not hold are given as key.sub=value, such
as stage_strides=[1,1,2,2]. --output writes the network as safetensors, with its settings in the file.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reskd.cli import command_parser, positive

if TYPE_CHECKING:
    from torch import Tensor

    from reskd.models.config import RecognizerConfig
    from reskd.models.weights.files import WeightFile


def main(arguments: Sequence[str]) -> None:
    chosen = build_parser().parse_args(arguments)
    if chosen.output and chosen.output.suffix != ".safetensors":
        raise ValueError(f"--output: expected a name that ends in .safetensors, found {chosen.output}.")
    from reskd.models.families.registry import build_recognizer
    from reskd.models.weights.files import read_weight_file, write_safetensors
    from reskd.models.weights.load import fit_file

    file = read_weight_file(chosen.file)
    config, num_classes = choose(file, chosen.settings, chosen.classes)
    model = build_recognizer(config, num_classes)
    report = fit_file(model, file)
    print(report.table())
    settings = config.model_dump(mode="json", exclude_unset=True, exclude={"weights"})
    print(f"settings: {settings}, {num_classes} classes")
    if chosen.output:
        settings_of_file = config.settings_beside_weights()
        write_safetensors(chosen.output, model.state_dict(), settings=settings_of_file, class_names=file.class_names)
        print(f"written to {chosen.output}")


def choose(file: WeightFile, settings: Sequence[str], num_classes: int | None) -> tuple[RecognizerConfig, int]:
    """The config of the file's network, as far as the file has it, with ``settings`` on top; the number of classes."""
    from reskd.experiment.config import recognizer_from
    from reskd.experiment.config_files import read_settings
    from reskd.models.weights.architectures import describe, num_classes_of, recognize
    from reskd.models.weights.names import rename

    renamed = rename(file.tensors, where=file.source)
    network = recognize(renamed.tensors, is_shifted=bool(renamed.shifted))
    told: dict[str, Any] = dict(file.settings or {})
    if "build" in told and not any(setting.startswith("build=") for setting in settings):
        raise ValueError(
            f"{file.source}: its network is made by {told['build']}, code that would be executed; if you know it, give "
            "it as build=FILE.py:FUNCTION."
        )
    if not told and network is not None:
        told = {"family": network.family, "backbone": network.backbone}
    told = read_settings(settings, where="settings", over=told)
    if "backbone" not in told and told.get("family") not in ("features", "python"):
        first = next(iter(file.tensors))
        raise ValueError(
            f"{file.source}: expected weights of a known network, found "
            f"{describe(renamed.tensors, first=first)}; give the network as backbone=NAME, "
            "one of timm's as backbone=timm/NAME."
        )
    config = recognizer_from(told | {"weights": "none"}, where="settings")
    of_file = len(file.class_names or ()) or num_classes_of(renamed.tensors) or _classes_of_timm(file.tensors, told)
    return config, num_classes or of_file or 1


def _classes_of_timm(tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> int | None:
    """The number of classes of a timm network's classifier; None without one."""
    from reskd.models.timm_catalog import is_timm, timm_settings

    backbone = settings.get("backbone", "")
    if not is_timm(backbone):
        return None
    classifier = timm_settings(backbone)["classifier"]
    names = (f"{prefix}{classifier}.weight" for prefix in ("", "module.")) if isinstance(classifier, str) else ()
    return next((len(tensors[name]) for name in names if name in tensors), None)


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser("import-weights", __doc__)
    parser.add_argument("file", type=Path, metavar="FILE", help="a .pth, .pt or .safetensors file")
    parser.add_argument(
        "settings",
        nargs="*",
        default=[],
        metavar="key.sub=value",
        help="settings of the network; default: what the file holds",
    )
    parser.add_argument("--classes", type=positive, help="number of classes; default: the file's")
    parser.add_argument("--output", type=Path, metavar="FILE.safetensors", help="file to write")
    return parser
