"""Classify videos with a trained student.

    reskd predict runs/demo_student/last.pt clip.mp4 holiday/ --top 3
    reskd predict runs/demo_student/best.pt clip.mp4 --clips 10 --crops 3 --sheet answers.png
    reskd predict runs/demo_student/last.pt archive/ --output answers.csv
    reskd predict runs/demo_student/last.pt match.mp4 --windows 4 --stride 1 --output match.csv --chart match.svg
    reskd predict runs/demo_student/last.pt --stream rtsp://camera/1 --windows 4
    reskd predict runs/synthetic_netvlad-all_netvlad-10.student/last.pt data/features/test0000.tfrecord --json

Only the checkpoint is needed. Give video files of any kind that FFmpeg reads, folders, which are searched for videos,
or --list. A student of features takes TFRecord files, as extract-features writes them, or folders of them.

With --json each line is one object: {"file", "answers": [{"class", "score", "logit"}]}, for a record also "video", its
id. A file without an answer gives {"file", "error"}. The exit code is 0 if any video was answered; with --strict, if
all were.

With --output the answers go into a CSV file. Each is kept at once, so the same command goes on after a kill.

With --windows each window of so many seconds has its own answers, with times from the video's timestamps. A video of
any length is decoded once; --annotated decodes it a second time.

With --stream each window of a camera or stream is a line of JSON as soon as it is over, until Ctrl-C or its end.
"""

from __future__ import annotations

import argparse
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dali_pipes.jobs.progress import ProgressDisplay
from reskd.cli import add_temperature, add_trust_code, command_parser, number_from, positive, require_checkpoint

if TYPE_CHECKING:
    from reskd.api.student import Student

log = logging.getLogger(__name__)
_MOST_REASONS = 4  # counted in the last line


def main(arguments: Sequence[str]) -> None:
    parser = build_parser()
    chosen = parser.parse_args(arguments)
    if not chosen.videos and not chosen.list and not chosen.stream:
        parser.error("the following arguments are required: VIDEO (or --list, --stream)")
    _check_windows(chosen)
    for name in ("sheet", "output", "chart", "annotated"):
        path = getattr(chosen, name)
        if path and not path.absolute().parent.is_dir():
            raise ValueError(f"--{name}: expected a folder at {path.parent}, found none; make it first.")
    require_checkpoint(chosen.checkpoint)
    from reskd.api.student import load_student
    from reskd.inference.given_files import listed_videos

    student = load_student(
        chosen.checkpoint, chosen.device, trust_code=chosen.trust_code, temperature=chosen.temperature
    )
    if student.config.data.kind == "features":
        _refuse_options_of_videos(chosen)
    if chosen.list:
        chosen.videos = [*chosen.videos, *listed_videos(chosen.list, chosen.root)]
    if chosen.stream:
        _answer_stream(student, chosen)
        return
    with ProgressDisplay() as display:
        if chosen.windows:
            num_answered, reasons = _answer_windows(student, chosen, display)
        elif chosen.output:
            num_answered, reasons = _write_answers(student, chosen, display)
        else:
            num_answered, reasons = _print_answers(student, chosen, display)
    _report(num_answered, reasons, strict=chosen.strict)


def _print_answers(student: Student, chosen: argparse.Namespace, display: ProgressDisplay) -> tuple[int, Iterable[str]]:
    """Print a line for each file; returns the number of answers, and why files have none."""
    from dali_pipes.file_names import on_one_line
    from reskd.inference.answer_lines import as_json, as_text
    from reskd.inference.answers import Answer, VideoAnswer
    from reskd.reports.contact_sheet import MAX_ROWS, SheetRow, draw_contact_sheet

    line_of = as_json if chosen.json else as_text
    num_answered, reasons = 0, list[str]()
    rows: list[SheetRow] = []
    answers = student.answers(
        chosen.videos,
        clips=chosen.clips,
        crops=chosen.crops,
        batch_size=chosen.batch_size,
        scan=chosen.scan,
        on_message=log.warning,
        on_progress=lambda noun, done, total: display.count(noun, done, total) if total > 1 else None,
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
            reasons.append(found.reason)
    if rows:
        draw_contact_sheet(rows, chosen.sheet)
        log.info("%s: the first %d of %d videos", chosen.sheet, len(rows), num_answered)
    return num_answered, reasons


def _write_answers(student: Student, chosen: argparse.Namespace, display: ProgressDisplay) -> tuple[int, Iterable[str]]:
    """Write the CSV of --output; returns the number of answers, and why files have none."""
    from dali_pipes.file_names import on_one_line
    from reskd.inference.bulk import answer_into, settings_of_answers

    for name in ("json", "sheet"):
        if getattr(chosen, name):
            raise ValueError(f"--{name}: expected none with --output, which writes a CSV file; leave one of them out.")
    settings = student.video_settings(
        clips=chosen.clips, crops=chosen.crops, batch_size=chosen.batch_size, scan=chosen.scan
    )
    found = answer_into(
        chosen.output,
        student.trained,
        chosen.videos,
        about=settings_of_answers(chosen.checkpoint, student.trained, settings, chosen.top),
        settings=settings,
        top=chosen.top,
        on_message=log.warning,
        on_progress=lambda noun, done, total: display.count(noun, done, total) if total > 1 else None,
    )
    display.clear()
    for file, recorded in found.rows:
        if recorded.error:
            log.warning("%s: no answer: %s", on_one_line(file), recorded.error)
    print(f"{chosen.output}: {len(found.rows)} videos, {found.num_known} of them answered before")
    return len(found.rows) - len(found.reasons), found.reasons


def _answer_windows(
    student: Student, chosen: argparse.Namespace, display: ProgressDisplay
) -> tuple[int, Iterable[str]]:
    """Answer the windows of each video; returns the number of videos with windows, and why others have none."""
    from reskd.inference.windows.many_videos import WindowFiles, answer_windows_of_videos

    files = WindowFiles(chosen.output, chosen.chart, chosen.annotated)
    return answer_windows_of_videos(
        student.trained,
        chosen.videos,
        (chosen.windows, chosen.stride),
        files,
        top=chosen.top,
        batch_size=chosen.batch_size or 16,
        as_json=chosen.json,
        display=display,
    )


def _answer_stream(student: Student, chosen: argparse.Namespace) -> None:
    from functools import partial

    from reskd.inference.windows.live import answer_stream

    answer_stream(
        student.trained,
        chosen.stream,
        (chosen.windows, chosen.stride),
        top=chosen.top,
        timeout_s=chosen.timeout,
        retries=chosen.retries,
        write=partial(print, flush=True),
    )


def _check_windows(chosen: argparse.Namespace) -> None:
    if chosen.stream:
        if not chosen.windows:
            raise ValueError("--stream: expected --windows SECONDS, found none; each window of the stream is answered.")
        for name in ("videos", "list", "output", "chart", "annotated"):
            if getattr(chosen, name):
                raise ValueError(f"--stream: expected no {name}, found some; a stream is answered alone, on its lines.")
    if chosen.windows:
        unfit, reason = ["clips", "crops", "scan", "sheet"], "is for whole videos, not for --windows"
    else:
        unfit, reason = ["stride", "chart", "annotated"], "is for windows of time"
    for name in unfit:
        if getattr(chosen, name):
            also = "leave it out" if chosen.windows else "set --windows SECONDS, or leave it out"
            raise ValueError(f"--{name} {reason}; {also}.")


def _report(num_answered: int, reasons: Iterable[str], *, strict: bool) -> None:
    """Log how many files have an answer, and why the others have none.

    Raises:
        ValueError: no file has an answer or, with ``strict``, not every one.
    """
    kinds = Counter(reason.partition(":")[0] for reason in reasons)
    counts = f"{num_answered} answered, {kinds.total()} not"
    if kinds:
        shown = kinds.most_common(_MOST_REASONS)
        rest = kinds.total() - sum(count for _, count in shown)
        why = [f"{count} {reason}" for reason, count in shown] + [f"{rest} for other reasons"] * bool(rest)
        counts = f"{counts} ({'; '.join(why)}; each is named above)"
    if not num_answered or (kinds and strict):
        raise ValueError(f"expected to answer {'every' if strict else 'a'} video, found {counts}.")
    log.info(counts)


def _refuse_options_of_videos(chosen: argparse.Namespace) -> None:
    for name in ("clips", "crops", "scan", "sheet", "output", "list", "windows", "stream"):
        if getattr(chosen, name):
            raise ValueError(f"--{name} is for videos, but this student of features takes whole records; leave it out.")


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser("predict", __doc__)
    parser.add_argument("checkpoint", type=Path, help="last.pt or best.pt of a run")
    parser.add_argument(
        "videos", nargs="*", metavar="VIDEO", help="video file or folder; for a student of features, TFRecord files"
    )
    parser.add_argument("--list", type=Path, metavar="FILE", help="a list of videos; labels in it are passed over")
    parser.add_argument("--root", type=Path, help="folder of the listed videos (default: the list's)")
    parser.add_argument("--top", type=positive, default=5, metavar="K", help="classes printed per video (default 5)")
    add_trust_code(parser)
    add_temperature(parser)
    parser.add_argument("--strict", action="store_true", help="exit with 1 if any video has no answer")
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE.csv",
        help="write the answers into this file; the same command goes on where it was stopped (FILE.csv.journal)",
    )
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
        help="how to count a video's frames: decode all of it once, or count its packets; default: as in training",
    )
    parser.add_argument(
        "--sheet", type=Path, metavar="FILE.png", help="draw the student's input and answers in this picture"
    )
    _add_windows(parser)
    return parser


def _add_windows(parser: argparse.ArgumentParser) -> None:
    windows = parser.add_argument_group("windows of time, for long videos")
    seconds = number_from(0.01, 86400)
    windows.add_argument("--windows", type=seconds, metavar="SECONDS", help="answer each window of so many seconds")
    windows.add_argument(
        "--stride", type=seconds, metavar="SECONDS", help="from the start of a window to the next (default: its length)"
    )
    windows.add_argument("--chart", type=Path, metavar="FILE.svg", help="draw the classes over time")
    windows.add_argument(
        "--annotated", type=Path, metavar="FILE.mp4", help="write a copy of the one video, with class and score in it"
    )
    streams = parser.add_argument_group("cameras and streams")
    streams.add_argument(
        "--stream",
        metavar="SOURCE",
        help="URL (rtsp, http, https, rtmp, srt, udp, tcp), /dev/video0, a named pipe, or - for standard input",
    )
    streams.add_argument(
        "--timeout",
        type=seconds,
        default=10.0,
        metavar="SECONDS",
        help="without data it has stopped (default 10)",
    )
    streams.add_argument(
        "--retries", type=int, default=3, metavar="N", help="times in a row to open it again (default 3; not of pipes)"
    )
