"""Write made-up videos as features, in YouTube-8M's frame-level records: python tools/make_feature_data.py FOLDER

What they hold is told in dali_pipes/synthetic/features.py. The printed hash is that of the records' content: equal
settings give equal hashes. Settings of the generator by name: --set signal=1.2 visible=0.08 num_classes=50.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from dali_pipes.jobs.progress import ProgressLine
from dali_pipes.synthetic.features import SyntheticSpec, write_synthetic
from reskd.cli import run_tool


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of the records; is made")
    for split, count in (("train", 4000), ("val", 500), ("test", 1000)):
        parser.add_argument(f"--{split}", type=int, default=count, help=f"videos (default {count})")
    parser.add_argument("--set", nargs="*", default=[], metavar="name=value", help="settings of the generator")
    chosen = parser.parse_args(arguments)
    spec = parse_spec(chosen.set)
    num_videos = {split: getattr(chosen, split) for split in ("train", "val", "test")}
    content_hash = write_synthetic(spec, chosen.folder, num_videos, on_progress=ProgressLine("videos"))
    shown = ", ".join(f"{count} {split}" for split, count in num_videos.items())
    groups = " ".join(f"{name} {dim}" for name, dim in spec.groups.items())
    print(f"{shown} videos of {spec.num_classes} classes in {chosen.folder}; groups {groups}; sha256 {content_hash}")


def parse_spec(settings: Sequence[str]) -> SyntheticSpec:
    """The defaults but for what is set.

    Raises:
        ValueError: an unknown name, or a value of another kind than the default.
    """
    defaults = dataclasses.asdict(SyntheticSpec())
    values: dict[str, Any] = {}
    for setting in settings:
        name, _, text = setting.partition("=")
        if name not in defaults:
            raise ValueError(f"--set: expected one of {', '.join(defaults)}, found {name!r}.")
        value, default = yaml.safe_load(text), defaults[name]
        if isinstance(default, float) and isinstance(value, int):
            value = float(value)
        if isinstance(default, tuple) and isinstance(value, list) and len(value) == len(default):
            value = tuple(value)
        if type(value) is not type(default):
            raise ValueError(f"--set {name}: expected a value like {default!r}, found {text!r}.")
        values[name] = value
    return SyntheticSpec(**values)


if __name__ == "__main__":
    sys.exit(run_tool(main))
