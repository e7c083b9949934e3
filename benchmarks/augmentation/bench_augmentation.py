"""Time the augmentation of a batch of both views, beside torchvision's transforms of the same recipes.

    python -m benchmarks.augmentation.bench_augmentation
    python -m benchmarks.augmentation.bench_augmentation --clips 32 --device cuda

The views are random numbers, already on the device. We augment a batch at once; torchvision's transforms get the clips
one by one, the teacher's view alone, as they cannot repeat their draws for a second view. Both take turns; printed are
medians, and lowest and highest in brackets, as a Markdown table. A CPU has one thread.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from reskd.cli import positive, run_tool

if TYPE_CHECKING:
    import torch

_JITTER = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}
# name -> settings of data.augmentation
RECIPES: Mapping[str, Mapping[str, Any]] = {
    "rand_augment": {"rand_augment": {"num_ops": 2, "magnitude": 9}},
    "color_jitter": {"color_jitter": _JITTER},
    "random_erasing": {"random_erasing": {"probability": 0.5}},
    "all three": {
        "rand_augment": {"num_ops": 2, "magnitude": 9},
        "color_jitter": _JITTER,
        "random_erasing": {"probability": 0.5},
    },
}


def build_parser() -> argparse.ArgumentParser:
    """The parser; its help is this module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=positive, default=16, help="clips of a batch")
    parser.add_argument("--frames", type=positive, default=8, help="frames of a clip")
    parser.add_argument("--size", type=positive, default=224, help="side of the teacher's view")
    parser.add_argument("--student-size", type=positive, default=112, help="side of the student's view")
    parser.add_argument("--rounds", type=positive, default=7, help="number of timed batches of each")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    return parser


def main(arguments: Sequence[str]) -> None:
    """Time each recipe and print the table."""
    chosen = build_parser().parse_args(arguments)
    import torch

    device = torch.device(chosen.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: expected a GPU, found none; leave the option out.")
    torch.set_num_threads(1)
    unit = "cpu-ms a clip" if device.type == "cpu" else "ms a clip"
    print(f"| recipe | both views, {unit} | torchvision, teacher's view, {unit} |\n|---|---|---|")
    for name, settings in RECIPES.items():
        ours, theirs = _candidates(chosen, settings, device)
        times: tuple[list[float], list[float]] = ([], [])
        for number in range(-1, chosen.rounds):  # the first one warms up
            for kept, candidate in zip(times, (ours, theirs), strict=True):
                spent = _seconds(candidate, number + 1, device)
                if number >= 0:
                    kept.append(1e3 * spent / chosen.clips)
        print(f"| {name} | {_summary(times[0])} | {_summary(times[1])} |", flush=True)


def _summary(times: Sequence[float]) -> str:
    return f"{statistics.median(times):.2f} ({min(times):.2f} to {max(times):.2f})"


def _seconds(candidate: Callable[[int], object], number: int, device: torch.device) -> float:
    """Cpu time on a CPU, and time from start to end on a GPU."""
    from reskd.device_times import wait_for

    clock = time.process_time if device.type == "cpu" else time.perf_counter
    wait_for(device)
    start = clock()
    candidate(number)
    wait_for(device)
    return clock() - start


def _candidates(
    chosen: argparse.Namespace, settings: Mapping[str, Any], device: torch.device
) -> tuple[Callable[[int], object], Callable[[int], object]]:
    """Functions that augment batch ``number``: ours, and torchvision's."""
    import torch
    from torchvision.transforms import v2

    from dali_pipes.augmentation.augmenter import Augmenter
    from dali_pipes.augmentation.plan import Shape
    from dali_pipes.augmentation_config import AugmentationConfig

    torch.manual_seed(0)
    sizes = {"teacher": chosen.size, "student": chosen.student_size}
    shapes = {name: (chosen.clips, chosen.frames, side, side, 3) for name, side in sizes.items()}
    views = {name: torch.randint(0, 256, shape, dtype=torch.uint8).to(device) for name, shape in shapes.items()}
    planes_NTCHW = views["teacher"].permute(0, 1, 4, 2, 3).contiguous()
    cells = (chosen.student_size, chosen.student_size)
    augmenter = Augmenter(AugmentationConfig.model_validate(settings), Shape(1.0, cells), seed=0)
    made: list[torch.nn.Module] = []
    if "rand_augment" in settings:
        made.append(v2.RandAugment(2, 27))  # 27 of 30 is our 9
    if "color_jitter" in settings:
        made.append(v2.ColorJitter(**_JITTER))
    if "random_erasing" in settings:
        made.append(v2.RandomErasing(0.5))
    transform = v2.Compose(made)

    def ours(number: int) -> object:
        positions = range(number * chosen.clips, (number + 1) * chosen.clips)
        return augmenter(views, positions=positions, attempts=[0] * chosen.clips)

    return ours, lambda number: [transform(clip) for clip in planes_NTCHW]


if __name__ == "__main__":
    sys.exit(run_tool(main))
