"""What a model costs, per part and per video.

    python tools/analyze.py flops configs/demo_student.yaml
    python tools/analyze.py flops --backbone resnet50 --frames 16 --size 112

Nothing is downloaded and no video is read.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import get_args

from pydantic import ValidationError

from reskd.analysis.flops import MacCount, count_recognizer
from reskd.cli import run_tool
from reskd.config import load_config
from reskd.models.config import BackboneName, RecognizerConfig, parse_recognizer
from reskd.networks import teacher_model, view_shapes

_LEGEND = (
    "GMACs: 1e9 multiply-accumulates per video, the GFLOPs of papers. The last line adds batch norm (2 an\n"
    "element), activations and max pooling (1 each), as the counter behind the ResKD paper's table does."
)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    _add_flops_arguments(commands.add_parser("flops", help="multiply-accumulates per part and per video"))
    chosen = parser.parse_args(arguments)
    if (chosen.config is None) == (chosen.backbone is None):
        raise ValueError("flops: expected either a config or --backbone, found both or neither.")
    for title, config, shape, tested_views in _models(chosen):
        num_views = chosen.views or tested_views
        count = count_recognizer(config, shape, num_classes=chosen.num_classes, num_views=num_views)
        num_frames, height, width = shape
        print(f"{title}{config.backbone}, {num_frames} frames of {height} x {width}, {num_views} view(s) a video")
        print(macs_table(count), end="\n\n")
    print(_LEGEND)


def _models(chosen: argparse.Namespace) -> list[tuple[str, RecognizerConfig, tuple[int, int, int], int]]:
    """(title, architecture, (T, H, W), views in the test) of each model asked for."""
    if chosen.config is None:
        shape = (chosen.frames, *_height_width(chosen.size))
        return [("", _recognizer_config(chosen.backbone, chosen.stage_strides), shape, 1)]
    config = load_config(chosen.config)
    shapes = view_shapes(config)
    tested_views = config.data.sampling.test_clips * config.data.sampling.test_crops
    models = [("student: ", config.student, shapes["student"], tested_views)]
    if config.teacher:
        models.append(("teacher: ", teacher_model(config), shapes["teacher"], tested_views))
    return models


def macs_table(count: MacCount) -> str:
    """One line a part, the total, and the total of those who count elementwise operations too; GMACs."""
    width = max(map(len, (*count.parts, "with elementwise"))) + 2
    lines = [f"{'part':<{width}}{'GMACs':>10}{'share':>8}"]
    for name, macs in (*count.parts.items(), ("total", count.total)):
        lines.append(f"{name:<{width}}{macs / 1e9:>10.3f}{macs / count.total:>8.1%}")
    lines.append(f"{'with elementwise':<{width}}{(count.total + count.elementwise) / 1e9:>10.3f}")
    return "\n".join(lines)


def _add_flops_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", nargs="?", help="an experiment: its student and its teacher are counted")
    parser.add_argument("--backbone", choices=get_args(BackboneName), help="in place of a config")
    parser.add_argument("--frames", type=_positive, default=8, help="frames a view; default 8")
    parser.add_argument("--size", type=_positive, nargs="+", default=[224], help="a square's side, or height width")
    parser.add_argument("--stage-strides", type=int, nargs=4, metavar="S", help="of a ResNet; 1 1 2 2 is R50-S")
    parser.add_argument("--num-classes", type=_positive, default=200)
    parser.add_argument("--views", type=_positive, help="clips times crops a video; default: the config's test, or 1")


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of 1 or more, found {text!r}")
    return int(text)


def _height_width(sizes: list[int]) -> tuple[int, int]:
    if len(sizes) > 2:
        raise ValueError(f"--size: expected one side, or height and width, found {len(sizes)} numbers: {sizes}.")
    return sizes[0], sizes[-1]


def _recognizer_config(backbone: str, stage_strides: list[int] | None) -> RecognizerConfig:
    try:
        return parse_recognizer({"backbone": backbone, "stage_strides": stage_strides})
    except ValidationError as error:
        raise ValueError("; ".join(fault["msg"].removeprefix("Value error, ") for fault in error.errors())) from None


if __name__ == "__main__":
    sys.exit(run_tool(main))
