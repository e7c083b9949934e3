"""Write features of synthetic videos, in the record format of YouTube-8M's frame-level data.

    reskd make-feature-data data/features
    reskd make-feature-data data/features --train 500 --set signal=1.2 num_classes=50

dali_pipes/synthetic/features.py describes the videos. The printed hash is that of the records' content: the same
settings give the same hash. --set changes settings of the generator by name.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dali_pipes.jobs.progress import ProgressDisplay
from reskd.cli import command_parser

if TYPE_CHECKING:
    from dali_pipes.synthetic.features import SyntheticSpec

_NUM_VIDEOS = {"train": 4000, "val": 500, "test": 1000}


def main(arguments: Sequence[str]) -> None:
    chosen = build_parser().parse_args(arguments)
    from dali_pipes.synthetic.features import write_synthetic

    spec = parse_spec(chosen.set)
    num_videos = {split: getattr(chosen, split) for split in _NUM_VIDEOS}
    with ProgressDisplay() as display:
        content_hash = write_synthetic(spec, chosen.folder, num_videos, on_progress=display.counter("videos"))
    shown = ", ".join(f"{count} {split}" for split, count in num_videos.items())
    groups = " ".join(f"{name} {dim}" for name, dim in spec.groups.items())
    print(f"{shown} videos of {spec.num_classes} classes in {chosen.folder}; groups {groups}; sha256 {content_hash}")


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser("make-feature-data", __doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="folder of the records; made if it is not there")
    for split, count in _NUM_VIDEOS.items():
        parser.add_argument(f"--{split}", type=int, default=count, help=f"videos of the {split} list (default {count})")
    parser.add_argument("--set", nargs="*", default=[], metavar="name=value", help="settings of the generator")
    return parser


def parse_spec(settings: Sequence[str]) -> SyntheticSpec:
    """The generator's default settings with ``settings`` on top.

    Raises:
        ValueError: an unknown name, or a value of another kind than the default.
    """
    from dali_pipes.synthetic.features import SyntheticSpec
    from reskd.yaml_reading import read_yaml

    defaults = dataclasses.asdict(SyntheticSpec())
    values: dict[str, Any] = {}
    for setting in settings:
        name, _, text = setting.partition("=")
        if name not in defaults:
            raise ValueError(f"--set: expected one of {', '.join(defaults)}, found {name!r}.")
        value, default = read_yaml(text, where=f"--set {name}").value, defaults[name]
        if isinstance(default, float) and isinstance(value, int):
            value = float(value)
        if isinstance(default, tuple) and isinstance(value, list) and len(value) == len(default):
            value = tuple(value)
        if type(value) is not type(default):
            raise ValueError(f"--set {name}: expected a value like {default!r}, found {text!r}.")
        values[name] = value
    return SyntheticSpec(**values)
