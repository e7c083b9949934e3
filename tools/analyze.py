"""What a model costs: python tools/analyze.py flops --backbone resnet50 --frames 16 --size 112

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
from reskd.models.config import BackboneName, RecognizerConfig


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    _add_flops_arguments(commands.add_parser("flops", help="multiply-accumulates per part and per video"))
    chosen = parser.parse_args(arguments)
    config = _recognizer_config(chosen.backbone, chosen.stage_strides)
    height, width = _height_width(chosen.size)
    count = count_recognizer(
        config, (chosen.frames, height, width), num_classes=chosen.num_classes, num_views=chosen.views
    )
    print(f"{config.backbone}, {chosen.frames} frames of {height} x {width}, {chosen.views} view(s) a video")
    print(macs_table(count))


def macs_table(count: MacCount) -> str:
    """One line a part, the total, and the total of those who count elementwise operations too; GMACs."""
    width = max(map(len, (*count.parts, "with elementwise"))) + 2
    lines = [f"{'part':<{width}}{'GMACs':>10}{'share':>8}"]
    for name, macs in (*count.parts.items(), ("total", count.total)):
        lines.append(f"{name:<{width}}{macs / 1e9:>10.3f}{macs / count.total:>8.1%}")
    lines.append(f"{'with elementwise':<{width}}{(count.total + count.elementwise) / 1e9:>10.3f}")
    lines.append("GMACs: 1e9 multiply-accumulates per video, the GFLOPs of papers. The last line adds batch norm (2 an")
    lines.append("element), activations and max pooling (1 each), as the counter behind the ResKD paper's table does.")
    return "\n".join(lines)


def _add_flops_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--backbone", choices=get_args(BackboneName), required=True)
    parser.add_argument("--frames", type=_positive, default=8, help="frames a view; default 8")
    parser.add_argument("--size", type=_positive, nargs="+", default=[224], help="a square's side, or height width")
    parser.add_argument("--stage-strides", type=int, nargs=4, metavar="S", help="of a ResNet; 1 1 2 2 is R50-S")
    parser.add_argument("--num-classes", type=_positive, default=200)
    parser.add_argument("--views", type=_positive, default=1, help="clips times crops a video; default 1")


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
        return RecognizerConfig.model_validate({"backbone": backbone, "stage_strides": stage_strides})
    except ValidationError as error:
        raise ValueError("; ".join(fault["msg"].removeprefix("Value error, ") for fault in error.errors())) from None


if __name__ == "__main__":
    sys.exit(run_tool(main))
