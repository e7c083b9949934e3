"""Train an experiment: python tools/train.py CONFIG [key.sub=value ...], or under torchrun.

python tools/train.py configs/demo/student.yaml
torchrun --nproc-per-node 2 tools/train.py configs/ucf10/student_r18-96_r18-48.yaml training.epochs=5

A file with stages is trained stage by stage, each in runs/<name>.<stage>; what is done is not done again.
stages.NAME.key=value changes one stage.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from reskd.cli import run_tool
from reskd.distributed import joined_world
from reskd.experiment.stages import load_stages, train_stages


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="YAML file of the experiment")
    parser.add_argument("overrides", nargs="*", metavar="key.sub=value", help="settings in place of the file's")
    parser.add_argument("--resume", default="auto", metavar="auto|PATH|none", help="go on from last.pt (default)")
    parser.add_argument("--overwrite", action="store_true", help="delete an earlier run of this name first")
    chosen = parser.parse_intermixed_args(arguments)
    configs = load_stages(chosen.config, chosen.overrides)
    with joined_world(configs[0].device) as world, Display(enabled=world.is_main) as display:
        runs = train_stages(configs, world=world, resume=chosen.resume, overwrite=chosen.overwrite, on_log=display.show)
    if world.is_main:
        print("\n".join(f"done: {run.path / 'report.md'}" for run in runs))


class Display:
    """A progress bar on a terminal, lines of text elsewhere; rank 0 only."""

    def __init__(self, *, enabled: bool) -> None:
        self._enabled = enabled
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[numbers]}"),
        )
        self._bar = Progress(*columns, disable=not enabled or not sys.stdout.isatty())
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Display:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, name: str, step: int, total_steps: int, values: Mapping[str, float]) -> None:
        if not self._enabled:
            return
        numbers = _numbers(values)
        if self._bar.disable:
            print(f"{name} step {step}/{total_steps} {numbers}", flush=True)
            return
        if name not in self._tasks:
            self._tasks[name] = self._bar.add_task(name, total=total_steps, numbers="")
        self._bar.update(self._tasks[name], completed=step, numbers=numbers)


def _numbers(values: Mapping[str, float]) -> str:
    shown = [f"{name.split('/')[1]} {value:.3f}" for name, value in values.items() if name.startswith("loss/")]
    shown += [f"top1 {values['train/top1']:.3f}"] if "train/top1" in values else []
    validated = next((key for key in ("val/top1", "val/gap", "val/map") if key in values), None)
    shown += [f"{validated.replace('/', ' ')} {values[validated]:.3f}"] if validated else []
    shown.append(f"{values['speed/clips_per_second']:.1f} clips/s")
    shown.append(f"waiting {values['speed/data_wait_share']:.0%}")
    return "  ".join(shown)


if __name__ == "__main__":
    sys.exit(run_tool(main))
