"""Command-line arguments of the pictures. Nothing heavy is imported at the top, so that --help is quick."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from reskd.cli import add_trust_code, positive

if TYPE_CHECKING:
    from reskd.analysis.receptive_field import Position
    from reskd.analysis.runs import RunsRequest


def add_receptive_field_arguments(parser: argparse.ArgumentParser) -> None:
    """Also sets what runs: ``run``, called with the parsed arguments."""
    _add_run_arguments(parser, clips=16)
    parser.add_argument(
        "--position",
        type=_position,
        default="center",
        metavar="Y,X",
        help="row and column of the last feature map, from 0, or center (default; of an even map: lower right of it)",
    )
    parser.set_defaults(run=_draw_receptive_fields)


def add_attention_arguments(parser: argparse.ArgumentParser) -> None:
    """As ``add_receptive_field_arguments``."""
    _add_run_arguments(parser, clips=8)
    parser.add_argument(
        "--show",
        choices=("true", "predicted", "activation"),
        default="true",
        help="evidence for the true class (default), for the one each network predicts, or activation of any class",
    )
    parser.set_defaults(run=_draw_attention)


def _add_run_arguments(parser: argparse.ArgumentParser, *, clips: int) -> None:
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folders of trained runs, side by side")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="made if it is not there")
    parser.add_argument(
        "--clips", type=positive, default=clips, help="videos, spread evenly over the list (default %(default)s)"
    )
    parser.add_argument("--split", choices=("test", "val"), default="test", help="which list (default %(default)s)")
    parser.add_argument(
        "--checkpoint", choices=("last", "best"), default="last", help="last.pt (default) or best.pt of each run"
    )
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: the GPU if there is one (default)"
    )
    parser.add_argument(
        "--tensorboard", type=Path, metavar="RUN", help="also put the picture into this run's TensorBoard"
    )
    add_trust_code(parser)


def _draw_receptive_fields(chosen: argparse.Namespace) -> None:
    from reskd.analysis.receptive_field_command import FieldRequest, draw_receptive_fields

    request = FieldRequest(_runs_request(chosen), chosen.position, chosen.out, chosen.tensorboard)
    print(draw_receptive_fields(request))
    print(f"written to {chosen.out}: receptive_field.png, .json and .md")


def _draw_attention(chosen: argparse.Namespace) -> None:
    from reskd.analysis.attention_command import AttentionRequest, draw_attention

    request = AttentionRequest(_runs_request(chosen), chosen.show, chosen.out, chosen.tensorboard)
    print(draw_attention(request))
    print(f"written to {chosen.out}: attention.png, .mp4 and .json")


def _runs_request(chosen: argparse.Namespace) -> RunsRequest:
    from reskd.analysis.runs import RunsRequest
    from reskd.distributed import choose_device

    device = choose_device(chosen.device)
    return RunsRequest(chosen.runs, chosen.checkpoint, chosen.split, chosen.clips, device, chosen.trust_code)


def _position(text: str) -> Position | None:
    if text == "center":
        return None
    numbers = text.split(",")
    if len(numbers) != 2 or not all(number.isascii() and number.isdigit() for number in numbers):
        raise argparse.ArgumentTypeError(f"expected center, or a row and a column such as 3,3, found {text!r}")
    from reskd.analysis.receptive_field import Position

    return Position(int(numbers[0]), int(numbers[1]))
