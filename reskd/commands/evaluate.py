"""Score a checkpoint on the test or validation list.

    reskd evaluate configs/demo/student.yaml runs/demo_student/last.pt
    reskd evaluate configs/demo/student.yaml runs/demo_student/last.pt --which teacher --split val
    reskd evaluate configs/demo/student.yaml runs/demo_student/last.pt \\
        data.sampling.test_clips=10 data.sampling.test_crops=3

The result is printed and written as JSON beside the checkpoint: the metrics, the test protocol and the number of scored
videos. The settings test_clips, test_crops and average_views of data.sampling define the protocol. With one clip and
one crop, the default, the file is evaluation_test_student_last.json. Other choices have a file of their own:
evaluation_test_student_last_10x3.json for 10 clips and 3 crops; names of other frames or sizes than in training end in
_other- and a hash of the protocol.

On the validation list the temperature with the lowest log loss is found too: reskd predict and reskd export take it.

Beside it lie, with the same beginning, predictions.csv (each video's best answers), classes.csv (recall, precision,
average precision, what a class is taken for), confusion.svg and calibration.svg, and scores.npz with all scores.

report.html says whether the student beats the baseline, with all stages that are evaluated so far. For a
config with stages it lies in runs/NAME, else beside the result; for other test views, checkpoints or splits its name
ends as theirs.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

from reskd.cli import add_overrides, command_parser, positive, require_checkpoint
from reskd.faults import fault_files_in


def main(arguments: Sequence[str]) -> None:
    chosen = build_parser().parse_intermixed_args(arguments)
    from reskd.environment import require_for_training
    from reskd.experiment.stages import choose_stage, load_stages, role_of

    # Before torch is imported, which takes seconds.
    stages = load_stages(chosen.config, chosen.overrides)
    config = choose_stage(stages, chosen.stage)
    require_checkpoint(chosen.checkpoint)
    require_for_training()
    from reskd.distributed import joined_world
    from reskd.experiment.protocol import write_evaluation
    from reskd.experiment.run import answers_of, score_checkpoint
    from reskd.reports.answer_pictures import draw_answers
    from reskd.reports.answers import write_answers
    from reskd.reports.experiment.collect import EvaluatedFile
    from reskd.reports.experiment.page import write_stage_report
    from reskd.reports.experiment.scored import keep_scores

    if chosen.out:
        chosen.out.mkdir(parents=True, exist_ok=True)  # if it cannot be written, fail now, not after all clips
    with joined_world(config.device) as world, fault_files_in([chosen.out or chosen.checkpoint.parent]):
        scored = score_checkpoint(
            config,
            chosen.checkpoint,
            world=world,
            split=chosen.split,
            which=chosen.which,
            batch_size=chosen.batch_size,
        )
    if not world.is_main:
        return
    result = scored.result | {"command": shlex.join(["reskd", "evaluate", *arguments])}
    path = write_evaluation(result, chosen.out or chosen.checkpoint.parent)
    answers, stem = answers_of(scored), path.with_suffix("")
    beside = [*write_answers(answers, stem), *draw_answers(answers, stem)] if answers is not None else []
    beside += keep_scores(scored, config, chosen.checkpoint.parent, path)
    metrics = "  ".join(f"{name} {value:.4f}" for name, value in result["metrics"].items())
    coverage = result["coverage"]
    print(f"{config.name} {role_of(config, stages, chosen.which)} on {chosen.split}: {metrics}")
    print(f"scored {coverage['scored']} of {coverage['listed']} listed clips; {result['protocol']}")
    if temperature := result.get("temperature"):
        value, before, after = (temperature[key] for key in ("value", "log_loss_before", "log_loss"))
        print(f"temperature {value:.2f} lowers the log loss of these videos from {before:.3f} to {after:.3f}")
    print(f"written to {path}")
    print("\n".join(map(str, beside)) or "the list is too long to keep the scores of each video")
    evaluated = EvaluatedFile(path, config.name)
    print(f"report: {write_stage_report(stages, evaluated, source=chosen.config)}")


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser("evaluate", __doc__)
    parser.add_argument("config", help="YAML file of the experiment")
    parser.add_argument("checkpoint", type=Path, help="last.pt or best.pt of its run")
    add_overrides(parser)
    parser.add_argument("--stage", metavar="NAME", help="which stage, if the config has several")
    parser.add_argument(
        "--which",
        choices=("student", "teacher"),
        default="student",
        help="which model, with its own view (default %(default)s)",
    )
    parser.add_argument("--split", choices=("test", "val"), default="test", help="which list (default %(default)s)")
    parser.add_argument(
        "--batch-size", type=positive, default=16, help="clips per forward pass of a process (default %(default)s)"
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="folder of the JSON file; default: the checkpoint's")
    return parser
