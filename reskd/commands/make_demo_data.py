"""Write the demo data: a small set of generated action videos.

    reskd make-demo-data data/demo
    reskd make-demo-data data/demo --num-test 2400 --format mjpeg --overwrite
    reskd make-demo-data --preview demo.png

OUT gets the videos in train/ and test/, the lists train.csv and test.csv (path,label,group), classes.txt and
dataset.json. A group is a scene: its clips have the same background. dataset.json holds the settings, the hash of all
rendered pixels and labels, which is the same on every machine, and the hash of the encoded files, which depends on
FFmpeg. If OUT already holds this data set, nothing is written.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from dali_pipes.choices import DemoFormat
from dali_pipes.jobs.cores import usable_cores
from dali_pipes.jobs.progress import ProgressDisplay
from reskd.cli import command_parser, positive


def main(arguments: Sequence[str]) -> None:
    parser = build_parser()
    chosen = parser.parse_args(arguments)
    if chosen.out is None and chosen.preview is None:
        parser.error("expected OUT, the folder to make, or --preview PNG; found neither")
    if chosen.preview is not None:
        from reskd.reports.demo_preview import draw_preview

        draw_preview(chosen.seed, chosen.preview)
        print(f"preview: {chosen.preview}")
    if chosen.out is not None:
        _make(chosen)


def _make(chosen: argparse.Namespace) -> None:
    from dali_pipes.synthetic.data_set import Settings, holds_data_set, make_data_set, refuse_to_replace

    settings = Settings(chosen.seed, chosen.num_train, chosen.num_test, chosen.format)
    if holds_data_set(chosen.out, settings) and not chosen.overwrite:
        print(f"{chosen.out} already holds this data set; --overwrite writes it again.")
        return
    refuse_to_replace(chosen.out, overwrite=chosen.overwrite)
    with ProgressDisplay(enabled=sys.stderr.isatty()) as display:
        description = make_data_set(
            chosen.out, settings, num_workers=chosen.workers, on_progress=display.counter("clips")
        )
    print(f"{chosen.out}: {description['num_clips']} clips, files {description['codecs']}")
    print(f"rendered pixels and labels sha256 {description['rendered_sha256']}")
    print(f"encoded files              sha256 {description['encoded_sha256']} (depends on FFmpeg)")


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser("make-demo-data", __doc__)
    parser.add_argument("out", nargs="?", type=Path, metavar="OUT", help="folder to make")
    parser.add_argument("--seed", type=int, default=0, help="seed of the videos (default %(default)s)")
    parser.add_argument("--num-train", type=int, default=1500, help="training clips (default %(default)s)")
    parser.add_argument("--num-test", type=int, default=1200, help="test clips (default %(default)s)")
    parser.add_argument(
        "--format",
        choices=get_args(DemoFormat),
        default="mixed",
        help="codec of the files; mixed (default): 90 %% H.264, 5 %% VP9, 5 %% MJPEG",
    )
    parser.add_argument("--workers", type=positive, default=usable_cores(), help="processes (default: one per core)")
    parser.add_argument("--overwrite", action="store_true", help="replace the data set that OUT holds")
    parser.add_argument("--preview", type=Path, metavar="PNG", help="draw examples of each class; OUT is optional")
    return parser
