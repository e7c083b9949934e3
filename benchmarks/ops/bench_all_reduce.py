"""Time the sum of gradients over processes, for the cluster's rates in ``reskd analyze scaling``.

    torchrun --nproc-per-node 2 -m benchmarks.ops.bench_all_reduce
    torchrun --nproc-per-node 8 -m benchmarks.ops.bench_all_reduce --mib 0.001 25 100

"Bus bandwidth" is as in nccl-tests: 2 (n - 1) / n of the bytes, over the time. The smallest size gives the latency: its
time over 2 log2(n) messages.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Sequence

from reskd.cli import number_from, positive, run_tool


def build_parser() -> argparse.ArgumentParser:
    """The parser; its help is this module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = [0.001, 1.0, 13.0, 25.0, 100.0]
    parser.add_argument(
        "--mib", type=number_from(0.001, 1e6), nargs="+", default=sizes, help="sizes (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=positive, default=20, help="timed sums of each size (default %(default)s)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    return parser


def main(arguments: Sequence[str]) -> None:
    """Print a line for each size, on rank 0."""
    chosen = build_parser().parse_args(arguments)
    import torch
    import torch.distributed as dist

    from reskd.device_times import wait_for
    from reskd.distributed import joined_world

    with joined_world(chosen.device) as world:
        if world.size == 1:
            raise ValueError("expected several processes, found one; start it with torchrun --nproc-per-node 2 -m.")
        for mib in chosen.mib:
            values = torch.zeros(max(1, round(mib * 2**20 / 4)), device=world.device)
            seconds = []
            for _ in range(chosen.rounds + 3):
                wait_for(world.device)
                started = time.perf_counter()
                dist.all_reduce(values)
                wait_for(world.device)
                seconds.append(time.perf_counter() - started)
            median = statistics.median(seconds[3:])
            bus = 2 * (world.size - 1) / world.size * values.numel() * 4 / median
            message = median / (2 * math.ceil(math.log2(world.size)))
            if world.is_main:
                print(f"{mib:g} MiB: {1e3 * median:.3f} ms, {bus / 1e9:.3g} GB/s, {1e6 * message:.0f} us a message")


if __name__ == "__main__":
    sys.exit(run_tool(main))
