"""Look at a folder of videos and write the config of a first distillation on it.

    reskd init VIDEOS                          writes my_VIDEOS.yaml: a folder for each class in VIDEOS
    reskd init VIDEOS --list train.csv         the list of the videos, under VIDEOS
    reskd init VIDEOS --out first.yaml

The config has a teacher, a baseline and a student of half the teacher's size, fitted to the videos and to this machine,
with a comment for each choice. A few files are opened; nothing else is written.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from reskd.cli import command_parser


def main(arguments: Sequence[str]) -> None:
    chosen = build_parser().parse_args(arguments)
    from dali_pipes.atomic_files import atomic_write_text
    from dali_pipes.file_names import on_one_line
    from reskd.experiment.stages import check_stages, load_stages
    from reskd.first_config.config_text import Machine, first_config, name_of
    from reskd.first_config.folder_facts import look_into
    from reskd.yaml_reading import read_yaml

    out = chosen.out or Path(f"my_{name_of(chosen.root.absolute().name)}.yaml")
    if out.exists() and not chosen.overwrite:
        raise ValueError(f"{out} is there already; give another --out, or --overwrite.")
    facts = look_into(chosen.root, chosen.list)
    for remark in facts.remarks:
        print(remark)
    for path, reason in facts.bad.items():
        print(f"{on_one_line(path)}: cannot be read: {reason}")
    if facts.group_pattern:
        print(f"The names look like clips of {facts.num_groups:,} recordings: data.group_pattern is a guess, check it.")
    text = first_config(out, facts, Machine.this())
    check_stages(load_stages(read_yaml(text, where=str(out)).value))
    atomic_write_text(out, text)
    print(f"{facts.num_videos:,} videos of {len(facts.videos_of_class)} classes; written to {out}. Next:")
    print(f"    reskd doctor {out}\n    reskd train {out}")
    print(
        "Its first lines say how to evaluate the three; report.html then says whether the student beats the baseline."
    )


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser("init", __doc__)
    parser.add_argument("root", type=Path, metavar="VIDEOS", help="folder of the videos")
    parser.add_argument(
        "--list", default="folders", metavar="FILE", help="list under VIDEOS; default: its class folders"
    )
    parser.add_argument("--out", type=Path, metavar="FILE.yaml", help="the config; default: my_<name of VIDEOS>.yaml")
    parser.add_argument("--overwrite", action="store_true", help="replace the config")
    return parser
