"""Command-line arguments of feature extraction. Nothing heavy is imported, so that --help is quick."""

from __future__ import annotations

import argparse
from pathlib import Path

from reskd.cli import add_engine_arguments, add_trust_code, positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to write, of which videos, by which network."""
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the records; made if it is not there")
    videos = parser.add_argument_group("videos")
    videos.add_argument("--config", type=Path, help="take the lists of this experiment")
    videos.add_argument("--root", type=Path, help="folder that the lists' paths start from")
    videos.add_argument("--train", help="list under ROOT, or the word 'folders': one folder per class")
    videos.add_argument("--test", type=Path, help="list under ROOT")
    videos.add_argument("--classes", type=Path, help="file of class names under ROOT; default: sorted names")
    videos.add_argument("--group-pattern", help="as data.group_pattern in a config")
    held_out = videos.add_mutually_exclusive_group()
    held_out.add_argument("--val-fraction", type=float, default=0.1, help="held out of --train (default %(default)s)")
    held_out.add_argument("--val-pattern", help="as data.val_pattern in a config, in place of --val-fraction")
    network = parser.add_argument_group("network")
    network.add_argument("--run", dest="checkpoint", type=Path, metavar="CHECKPOINT", help="last.pt of a training run")
    network.add_argument("--which", choices=("student", "teacher"), default="student", help="which network of the run")
    network.add_argument(
        "--model", nargs="+", metavar="KEY=VALUE", help="such as backbone=resnet50 weights=IMAGENET1K_V2"
    )
    network.add_argument("--size", type=positive, default=224, help="side of --model's view (default %(default)s)")
    add_trust_code(parser)
    parser.add_argument("--fps", type=float, default=1.0, help="frames taken per second (default %(default)g)")
    parser.add_argument("--folder-fps", type=float, help="frame rate of folders of JPEG files")
    parser.add_argument(
        "--max-frames", type=positive, default=300, help="limit of frames per video (default %(default)s)"
    )
    parser.add_argument("--videos-per-file", type=positive, default=100, help="records per file (default %(default)s)")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: the GPU if there is one")
    parser.add_argument("--index-only", action="store_true", help="quick: count packets, without a first decode")
    add_engine_arguments(parser)
