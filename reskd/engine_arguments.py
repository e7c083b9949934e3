"""Arguments of tools with a long job over many files: who does it, and which part of it."""

from __future__ import annotations

import argparse
import os

from dali_pipes.engines import Engine, make_engine
from reskd.cli import positive


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """``--shard``, ``--workers``, ``--engine`` and ``--ray-address``."""
    parser.add_argument("--shard", type=_shard, default=(1, 1), metavar="I/N", help="this machine's part of the job")
    parser.add_argument("--workers", type=positive, default=os.cpu_count() or 1, help="processes (default: one a core)")
    parser.add_argument("--engine", choices=("local", "ray"), default="local", help="who does it (default %(default)s)")
    parser.add_argument(
        "--ray-address", metavar="ADDRESS", help="of a running cluster, or auto; default: Ray on this machine alone"
    )


def engine_of(chosen: argparse.Namespace) -> Engine:
    """The engine that the arguments name; raises ValueError where it is not installed."""
    return make_engine(chosen.engine, num_workers=chosen.workers, ray_address=chosen.ray_address)


def _shard(text: str) -> tuple[int, int]:
    part, _, parts = text.partition("/")
    if not (part.isdigit() and parts.isdigit() and 1 <= int(part) <= int(parts)):
        raise argparse.ArgumentTypeError(f"expected I/N with I from 1 to N, as in 2/8, found {text}")
    return int(part), int(parts)
