"""Score a checkpoint: python tools/evaluate.py CONFIG CHECKPOINT [key.sub=value ...] [--which teacher] [--split val]

The result is printed and written as JSON beside the checkpoint, with its protocol and coverage. How often a video is
shown is a setting too: data.sampling.test_clips=10 data.sampling.test_crops=3 data.sampling.average_views=logits
writes evaluation_test_student_last_10x3_logits.json beside evaluation_test_student_last.json of one clip and one crop.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from reskd.cli import run_tool
from reskd.distributed import joined_world
from reskd.experiment.protocol import write_evaluation
from reskd.experiment.run import evaluate_checkpoint
from reskd.experiment.stages import choose_stage, load_stages


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="YAML file of the experiment")
    parser.add_argument("checkpoint", type=Path, help="last.pt or best.pt of its run")
    parser.add_argument("overrides", nargs="*", metavar="key.sub=value", help="settings in place of the file's")
    parser.add_argument("--stage", metavar="NAME", help="which stage, where the file has several")
    parser.add_argument("--which", choices=("student", "teacher"), default="student", help="model and view")
    parser.add_argument("--split", choices=("test", "val"), default="test", help="list of clips")
    parser.add_argument("--batch-size", type=int, default=16, help="clips a process runs at once")
    parser.add_argument("--out", type=Path, help="folder of the JSON, made if need be; default: the checkpoint's")
    chosen = parser.parse_intermixed_args(arguments)
    config = choose_stage(load_stages(chosen.config, chosen.overrides), chosen.stage)
    if chosen.out:
        chosen.out.mkdir(parents=True, exist_ok=True)  # what cannot be written is told before all clips are shown
    with joined_world(config.device) as world:
        result = evaluate_checkpoint(
            config,
            chosen.checkpoint,
            world=world,
            split=chosen.split,
            which=chosen.which,
            batch_size=chosen.batch_size,
        )
    if not world.is_main:
        return
    path = write_evaluation(result, chosen.out or chosen.checkpoint.parent)
    metrics = "  ".join(f"{name} {value:.4f}" for name, value in result["metrics"].items())
    coverage = result["coverage"]
    print(f"{config.name} {chosen.which} on {chosen.split}: {metrics}")
    print(f"scored {coverage['scored']} of {coverage['listed']} listed clips; {result['protocol']}")
    print(f"written to {path}")


if __name__ == "__main__":
    sys.exit(run_tool(main))
