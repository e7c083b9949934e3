"""Classify videos with a trained student.

    reskd predict runs/demo_student/last.pt clip.mp4 holiday/ --top 3
    reskd predict runs/demo_student/best.pt clip.mp4 --clips 10 --crops 3 --sheet answers.png
    reskd predict runs/synthetic_netvlad-all_netvlad-10.student/last.pt data/features/test0000.tfrecord --json

Only the checkpoint is needed. Give video files of any kind that FFmpeg reads, or folders, which are searched for
videos. A student of features takes TFRecord files, as extract-features writes them, or folders of them.

With --json each line is one object: {"file", "answers": [{"class", "score", "logit"}]}, for a record also "video", its
id. A file without an answer gives {"file", "error"}. The exit code is 0 if any video was answered; with --strict, if
all were.
"""

from __future__ import annotations

import argparse
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from dali_pipes.jobs.progress import ProgressDisplay
from reskd.cli import add_trust_code, command_parser, positive

log = logging.getLogger(__name__)
_MOST_REASONS = 4  # counted in the last line


def main(arguments: Sequence[str]) -> None:
    chosen = build_parser().parse_args(arguments)
    if chosen.sheet and not chosen.sheet.parent.is_dir():
        raise ValueError(f"--sheet: expected a folder at {chosen.sheet.parent}, found none; make it first.")
    from dali_pipes.file_names import on_one_line
    from reskd.api.student import load_student
    from reskd.inference.answer_lines import as_json, as_text
    from reskd.inference.answers import Answer
    from reskd.inference.videos import VideoAnswer
    from reskd.reports.contact_sheet import MAX_ROWS, SheetRow, draw_contact_sheet

    student = load_student(chosen.checkpoint, chosen.device, trust_code=chosen.trust_code)
    if student.config.data.kind == "features":
        _refuse_options_of_videos(chosen)
    line_of = as_json if chosen.json else as_text
    num_answered, reasons = 0, Counter[str]()
    rows: list[SheetRow] = []
    with ProgressDisplay() as display:

        def on_progress(noun: str, done: int, total: int) -> None:
            if total > 1:
                display.count(noun, done, total)

        answers = student.answers(
            chosen.videos,
            clips=chosen.clips,
            crops=chosen.crops,
            batch_size=chosen.batch_size,
            scan=chosen.scan,
            on_message=log.warning,
            on_progress=on_progress,
        )
        for found in answers:
            display.clear()
            print(line_of(student.trained, found, chosen.top), flush=True)
            if isinstance(found, Answer):
                num_answered += 1
                if isinstance(found, VideoAnswer) and chosen.sheet and len(rows) < MAX_ROWS:
                    top = student.top(found.scores_K, chosen.top)
                    rows.append(SheetRow(on_one_line(found.file), top, found.frames_THWC.numpy()))
            else:
                reasons[found.reason.partition(":")[0]] += 1
    if rows:
        draw_contact_sheet(rows, chosen.sheet)
        log.info("%s: the first %d of %d videos", chosen.sheet, len(rows), num_answered)
    counts = f"{num_answered} answered, {reasons.total()} not"
    if reasons:
        shown = reasons.most_common(_MOST_REASONS)
        rest = reasons.total() - sum(count for _, count in shown)
        why = [f"{count} {reason}" for reason, count in shown] + [f"{rest} for other reasons"] * bool(rest)
        counts = f"{counts} ({'; '.join(why)}; each is named above)"
    if not num_answered or (reasons and chosen.strict):
        raise ValueError(f"expected to answer {'every' if chosen.strict else 'a'} video, found {counts}.")
    log.info(counts)


def _refuse_options_of_videos(chosen: argparse.Namespace) -> None:
    for name in ("clips", "crops", "scan", "sheet"):
        if getattr(chosen, name):
            raise ValueError(f"--{name} is for videos, but this student of features takes whole records; leave it out.")


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser("predict", __doc__)
    parser.add_argument("checkpoint", type=Path, help="last.pt or best.pt of a run")
    parser.add_argument(
        "videos", nargs="+", metavar="VIDEO", help="video file or folder; for a student of features, TFRecord files"
    )
    parser.add_argument("--top", type=positive, default=5, metavar="K", help="classes printed per video (default 5)")
    add_trust_code(parser)
    parser.add_argument("--strict", action="store_true", help="exit with 1 if any video has no answer")
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")
    parser.add_argument(
        "--clips",
        type=positive,
        help="clips of each video, spread over its time; default: test_clips of the config",
    )
    parser.add_argument(
        "--crops", type=int, choices=(1, 3), help="crops of each clip; default: test_crops of the config"
    )
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: the GPU if there is one (default)"
    )
    parser.add_argument(
        "--batch-size", type=positive, help="clips per forward pass (default 16; records of features 256)"
    )
    parser.add_argument(
        "--scan",
        choices=("decode", "index_only"),
        help="how to count a video's frames: decode it once, or count its packets; default: as in training",
    )
    parser.add_argument(
        "--sheet", type=Path, metavar="FILE.png", help="draw the student's input and answers in this picture"
    )
    return parser
