"""What a trained student says: python tools/predict.py CHECKPOINT VIDEO-OR-RECORDS... [--top K] [--json]

    python tools/predict.py runs/demo_student/last.pt clip.mp4 holiday/ --top 3
    python tools/predict.py runs/demo_student/best.pt clip.mp4 --clips 10 --crops 3 --sheet answers.png
    python tools/predict.py runs/synthetic_netvlad-all_netvlad-10.student/last.pt data/features/test0000.tfrecord --json

Videos are files of any kind that FFmpeg reads, or folders, which are searched. A student of features answers TFRecord
files, as extract-features writes them, and folders of *.tfrecord. The checkpoint is all that is needed.
With --json each line is an object: {"file", "answers": [{"class", "score", "logit"}]} (of a record also "video", its
id), {"file", "error"} or {"file", "skipped"}. The exit code is 0 if every video was answered; files in a folder that
hold no video do not count.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dali_pipes.file_names import printable
from dali_pipes.jobs.progress import ProgressLine
from dali_pipes.sampling.spec import ViewGrid
from reskd.cli import positive, run_tool
from reskd.distributed import choose_device
from reskd.inference.answers import Answer, NoAnswer, OnProgress
from reskd.inference.feature_records import RecordAnswer, answer_records
from reskd.inference.student import TrainedStudent, load_trained_student
from reskd.inference.videos import VideoAnswer, VideoSettings, answer_videos
from reskd.reports.contact_sheet import MAX_ROWS, SheetRow, draw_contact_sheet

log = logging.getLogger(__name__)


def main(arguments: Sequence[str]) -> None:
    chosen = _parse(arguments)
    if chosen.sheet and not chosen.sheet.parent.is_dir():
        raise ValueError(f"--sheet: expected a folder at {chosen.sheet.parent}, found none; make it first.")
    student = load_trained_student(chosen.checkpoint, choose_device(chosen.device))
    bars = _Bars()
    answer = {"clips": _answer_videos, "features": _answer_records}[student.config.data.kind]
    num_answered, num_failed = 0, 0
    rows: list[SheetRow] = []
    for found in answer(student, chosen, bars.show):
        bars.clear()
        print(_as_json(student, found, chosen.top) if chosen.json else _as_text(student, found, chosen.top), flush=True)
        if isinstance(found, Answer):
            num_answered += 1
            if isinstance(found, VideoAnswer) and chosen.sheet and len(rows) < MAX_ROWS:
                top = _top(student, found, chosen.top)
                rows.append(SheetRow(printable(found.file), top, found.frames_THWC.numpy()))
        else:
            num_failed += not found.skipped
    if rows:
        draw_contact_sheet(rows, chosen.sheet)
        log.info("%s: the first %d of %d videos", chosen.sheet, len(rows), num_answered)
    if num_failed or not num_answered:
        raise ValueError(f"expected to answer every video, found {num_answered} answered, {num_failed} not; see above.")


def _answer_videos(
    student: TrainedStudent, chosen: argparse.Namespace, on_progress: OnProgress
) -> Iterator[Answer | NoAnswer]:
    data = student.config.clips
    settings = VideoSettings(
        grid=ViewGrid(chosen.clips or data.sampling.test_clips, chosen.crops or data.sampling.test_crops),
        batch_size=chosen.batch_size or 16,
        scan=chosen.scan or data.scan,
    )
    return answer_videos(student, chosen.videos, settings, on_message=log.warning, on_progress=on_progress)


def _answer_records(
    student: TrainedStudent, chosen: argparse.Namespace, on_progress: OnProgress
) -> Iterator[Answer | NoAnswer]:
    for name in ("clips", "crops", "scan", "sheet"):
        if getattr(chosen, name):
            raise ValueError(
                f"--{name} is for videos, and this student of features answers records, each once and whole; leave "
                "it out."
            )
    return answer_records(
        student,
        chosen.videos,
        batch_size=chosen.batch_size or 256,
        on_message=log.warning,
        on_progress=on_progress,
    )


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="last.pt or best.pt of a run")
    parser.add_argument("videos", nargs="+", metavar="VIDEO", help="file or folder; of features TFRecords")
    parser.add_argument("--top", type=positive, default=5, metavar="K", help="answers a video; default 5")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--clips", type=positive, help="stretches of time shown; default: the config's test_clips")
    parser.add_argument("--crops", type=int, choices=(1, 3), help="crops shown of each; default: its test_crops")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--batch-size", type=positive, help="clips at once; default 16, of features 256")
    parser.add_argument(
        "--scan",
        choices=("decode", "index_only"),
        help="count a video's frames by decoding it once, or its packets; default: as in training",
    )
    parser.add_argument("--sheet", type=Path, metavar="FILE.png", help="picture of what the student saw and answered")
    return parser.parse_args(arguments)


def _top(student: TrainedStudent, answer: Answer, count: int) -> list[tuple[str, float]]:
    scores, classes = answer.scores_K.topk(min(count, len(student.class_names)))
    return [
        (student.class_names[number], score) for number, score in zip(classes.tolist(), scores.tolist(), strict=True)
    ]


def _as_text(student: TrainedStudent, found: Answer | NoAnswer, count: int) -> str:
    if isinstance(found, NoAnswer):
        return f"{printable(found.file)}: {'skipped' if found.skipped else 'no answer'}: {found.reason}"
    answers = ", ".join(f"{name} {score:.1%}" for name, score in _top(student, found, count))
    return printable(f"{found.file}: {answers}")


def _as_json(student: TrainedStudent, found: Answer | NoAnswer, count: int) -> str:
    if isinstance(found, NoAnswer):
        return json.dumps({"file": found.file, "skipped" if found.skipped else "error": found.reason})
    logits = dict(zip(student.class_names, found.logits_K.tolist(), strict=True))
    answers: list[dict[str, Any]] = [
        {"class": name, "score": score, "logit": logits[name]} for name, score in _top(student, found, count)
    ]
    of_record = {"video": found.video_id} if isinstance(found, RecordAnswer) else {}
    return json.dumps({"file": found.file, **of_record, "answers": answers})


class _Bars:
    """A progress line a phase, for more than one file."""

    def __init__(self) -> None:
        self._lines: dict[str, ProgressLine] = {}
        self._last: ProgressLine | None = None

    def show(self, noun: str, done: int, total: int) -> None:
        if total > 1:
            self._last = self._lines.setdefault(noun, ProgressLine(noun))
            self._last(done, total)

    def clear(self) -> None:
        if self._last:
            self._last.clear()


if __name__ == "__main__":
    sys.exit(run_tool(main))
