"""What is in a file of weights, and where each tensor goes: python tools/import_weights.py FILE [family=tsm ...]

Reads a checkpoint of ours, of mmaction2 or of the paper's code, a torchvision state dict, or safetensors; runs nothing
that is in it. Prints a row for every tensor of the file and of the recogniser, and what the settings of a config would
be. Settings that the file does not tell are given as key.sub=value: backbone=resnet50 stage_strides=[1,1,2,2].
With --output it writes the recogniser as safetensors, with its settings in the file.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reskd.cli import run_tool
from reskd.experiment.config import recognizer_from
from reskd.experiment.config_files import read_settings
from reskd.models.config import RecognizerConfig
from reskd.models.families.registry import build_recognizer
from reskd.models.weights.architectures import describe, num_classes_of, recognise
from reskd.models.weights.files import WeightFile, read_weight_file, write_safetensors
from reskd.models.weights.fill import fit
from reskd.models.weights.names import rename


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help=".pth, .pt or .safetensors")
    parser.add_argument("settings", nargs="*", help="of the recogniser, as key.sub=value; default: what the file tells")
    parser.add_argument("--classes", type=int, help="number of classes; default: the file's")
    parser.add_argument("--output", type=Path, help="a .safetensors file to write")
    chosen = parser.parse_args(arguments)
    if chosen.output and chosen.output.suffix != ".safetensors":
        raise ValueError(f"--output: expected a name that ends in .safetensors, found {chosen.output}.")
    file = read_weight_file(chosen.file)
    config, num_classes = choose(file, chosen.settings, chosen.classes)
    model = build_recognizer(config, num_classes)
    report = fit(model, file)
    print(report.table())
    settings = config.model_dump(mode="json", exclude_unset=True, exclude={"weights"})
    print(f"settings: {settings}, {num_classes} classes")
    if chosen.output:
        write_safetensors(
            chosen.output, model.state_dict(), settings=config.model_dump(mode="json"), class_names=file.class_names
        )
        print(f"written to {chosen.output}")


def choose(file: WeightFile, settings: Sequence[str], num_classes: int | None) -> tuple[RecognizerConfig, int]:
    """The recogniser that the file is of, as far as it tells, with ``settings`` over that, and its classes."""
    renamed = rename(file.tensors, where=file.source)
    network = recognise(renamed.tensors, is_shifted=bool(renamed.shifted))
    told: dict[str, Any] = dict(file.settings or {})
    if not told and network is not None:
        told = {"family": network.family, "backbone": network.backbone}
    told = read_settings(settings, where="settings", over=told)
    if "backbone" not in told and told.get("family") != "features":
        first = next(iter(file.tensors))
        raise ValueError(
            f"{file.source}: expected weights of a network known here, found "
            f"{describe(renamed.tensors, first=first)}; give the network as backbone=NAME."
        )
    config = recognizer_from(told | {"weights": "none"}, where="settings")
    return config, num_classes or num_classes_of(renamed.tensors) or 1


if __name__ == "__main__":
    sys.exit(run_tool(main))
