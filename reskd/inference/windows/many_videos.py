"""What reskd predict --windows does: lines, a CSV file, a chart and an annotated copy from one decode of each video."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from dali_pipes.file_names import on_one_line
from dali_pipes.jobs.progress import ProgressDisplay
from dali_pipes.single_pass.window_reader import UnreadableVideoError
from reskd.inference.answer_lines import error_as_json
from reskd.inference.given_files import GivenVideos
from reskd.inference.student import TrainedStudent
from reskd.inference.windows import outputs
from reskd.inference.windows.annotated_video import Captions, write_annotated_video
from reskd.inference.windows.long_videos import VideoWindows, WindowAnswer, window_rule
from reskd.inference.windows.strip_chart import Strip, draw_strip_charts

log = logging.getLogger(__name__)
_MOST_NAMED = 10  # damaged parts of a video


@dataclass(frozen=True)
class WindowFiles:
    """Files to write; None: not this one.

    Args:
        table: CSV of all windows; without it each window is a line on standard output.
        chart: SVG of all videos.
        annotated: MP4, a copy of the one video.
    """

    table: Path | None = None
    chart: Path | None = None
    annotated: Path | None = None


def answer_windows_of_videos(
    student: TrainedStudent,
    paths: Sequence[str | Path],
    seconds: tuple[float, float | None],
    files: WindowFiles,
    *,
    top: int,
    batch_size: int,
    as_json: bool,
    display: ProgressDisplay,
) -> tuple[int, list[str]]:
    """Answer the windows of each video, in order.

    Args:
        seconds: length and stride of the windows, as of ``window_rule``.
        top: classes of each window.

    Returns:
        The number of videos with windows, and why others have none.

    Raises:
        ValueError: as ``window_rule``; ``files.annotated`` for several videos; a window does not fit into memory.
        OSError: a file cannot be written.
    """
    rule = window_rule(student, *seconds)
    given = GivenVideos.of(paths, log.warning)
    if files.annotated and len(given.files) != 1:
        raise ValueError(f"--annotated: expected one video, found {len(given.files)}; give one.")
    sinks = _Sinks(student, files, top, as_json, display)
    with ExitStack() as stack:
        if files.table:
            sinks.table = stack.enter_context(outputs.WindowTable.open(files.table, student, top))
        for missing, reason in given.missing:
            sinks.refuse(missing, reason)
        for number, file in enumerate(given.files):
            if len(given.files) > 1:
                display.count("videos", number, len(given.files))
            windows = VideoWindows(student, file, rule, batch_size)
            try:
                sinks.begin(file)
                for found in windows:
                    sinks.add(found)
            except UnreadableVideoError as error:
                sinks.refuse(file, str(error))
                continue
            _name_damage(file, windows.notes.damage)
    display.clear()
    num_answered = len(given.files) + len(given.missing) - len(sinks.reasons)
    sinks.write_pictures(given.files if num_answered else [])
    return num_answered, sinks.reasons


@dataclass
class _Sinks:
    """Where windows go, as they come."""

    student: TrainedStudent
    files: WindowFiles
    top: int
    as_json: bool
    display: ProgressDisplay
    table: outputs.WindowTable | None = None
    captions: Captions = field(default_factory=Captions)
    strips: list[Strip] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    def begin(self, file: str) -> None:
        if self.files.chart:
            self.strips.append(Strip(file))

    def add(self, found: WindowAnswer) -> None:
        if self.table:
            self.table.add(found)
        else:
            self.display.clear()
            line_of = outputs.as_json if self.as_json else outputs.as_text
            print(line_of(self.student, found, self.top), flush=True)
        if self.files.chart:
            self.strips[-1].add(found)
        if self.files.annotated:
            self.captions.add(found, self.student.top(found.scores_K, 1))

    def refuse(self, file: str, reason: str) -> None:
        self.display.clear()
        log.warning("%s: no answer: %s", on_one_line(file), reason)
        self.reasons.append(reason)
        if self.table:
            self.table.add_error(file, reason)
        elif self.as_json:
            print(error_as_json(file, reason), flush=True)

    def write_pictures(self, videos: Sequence[str]) -> None:
        """The files that need all windows; ``videos``: empty if none has any."""
        if self.table:
            print(f"{self.files.table}: written")
        drawn = [strip for strip in self.strips if strip.scores]
        if self.files.chart and drawn:
            draw_strip_charts(drawn, self.student.class_names, self.files.chart)
            print(f"{self.files.chart}: {len(drawn)} video{'s' * (len(drawn) > 1)}")
        if self.files.annotated and videos:
            count = write_annotated_video(videos[0], self.captions, self.files.annotated)
            print(f"{self.files.annotated}: {count} pictures, without sound")


def _name_damage(file: str, damage: Sequence[str]) -> None:
    for sentence in damage[:_MOST_NAMED]:
        log.warning("%s: %s", on_one_line(file), sentence)
    if len(damage) > _MOST_NAMED:
        log.warning("%s: and %d more damaged parts", on_one_line(file), len(damage) - _MOST_NAMED)
