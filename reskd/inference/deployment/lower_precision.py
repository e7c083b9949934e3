"""Adds fp16 and int8 versions to an exported ``student.onnx``, if they pass a comparison on labeled videos."""

from __future__ import annotations

import json
import logging
import platform
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import torch

from dali_pipes.atomic_files import atomic_write_text, move_into_place
from dali_pipes.file_names import on_one_line
from dali_pipes.sampling.spec import ONE_TEST_VIEW
from reskd.choices import OnnxPrecision
from reskd.inference.answers import VideoSettings
from reskd.inference.checksums import write_checksums
from reskd.inference.deployment.comparison import (
    MOST_LOSS,
    Comparison,
    VersionResult,
    as_table,
    as_values,
    feed_of,
)
from reskd.inference.deployment.listed_clips import clips_of, shared_files, spread
from reskd.inference.deployment.quantization import Feed, needs_reduced_range, open_session, write_fp16, write_int8
from reskd.inference.deployment.run_splits import ChosenVideos, PrecisionLists, calibration_videos, checked_videos
from reskd.inference.export import CONFIG_NAME, FILE_NAMES, PRECISION_NAMES, TABLE_NAMES
from reskd.inference.student import TrainedStudent

log = logging.getLogger(__name__)

NUM_CALIBRATED = 256  # videos; ONNX Runtime's guide asks for hundreds
_FEW_VIDEOS = 100  # below this, one video is more than a point


def check_precisions(
    precisions: Sequence[OnnxPrecision], formats: Sequence[str], check: str | None, calibration: str | None
) -> None:
    """Raises ValueError if the options do not fit together; in one sentence."""
    lower = [name for name in precisions if name != "fp32"]
    if not lower:
        for name, value in (("--check", check), ("--calibration", calibration)):
            if value:
                raise ValueError(f"{name} is for --precision fp16 or int8; add one, or leave it out.")
        return
    if "onnx" not in formats:
        raise ValueError(f"--precision {lower[0]}: expected onnx among --format, found none; add it.")
    if "int8" not in lower and calibration is not None:
        raise ValueError("--calibration is for --precision int8; add it, or leave --calibration out.")


def add_precisions(
    student: TrainedStudent, folder: Path, precisions: Sequence[OnnxPrecision], lists: PrecisionLists
) -> tuple[str, list[str]]:
    """Write the versions beside ``folder/student.onnx``, and the table; keep those that lose at most a point.

    Returns:
        The table, and a sentence for each version that is not kept.

    Raises:
        ValueError: a list or split has no readable video, or a label that is no class of the student.
    """
    if len(student.shape) == 2:
        raise ValueError("--precision: expected a student of videos for fp16 and int8, found one of features.")
    check = checked_videos(student, lists)
    labels = {one.file: one.labels for one in check.files}
    calibration = calibration_videos(student, lists) if "int8" in precisions else None
    lower = [name for name in ("fp16", "int8") if name in precisions]
    unchecked = {name: folder / f"unchecked_{PRECISION_NAMES[name]}" for name in lower}
    try:
        source = folder / FILE_NAMES["onnx"]
        for name in lower:
            log.info("writing %s", PRECISION_NAMES[name])
            if name == "fp16":
                write_fp16(source, unchecked[name])
            else:
                assert calibration is not None
                _quantize(student, source, unchecked[name], calibration, list(labels))
        results, num_videos = _compare(student, {"fp32": source, **unchecked}, labels, check.name)
        table = as_table(results, num_videos)
        about = _conditions(check, calibration, reduced="int8" in lower and needs_reduced_range())
        atomic_write_text(folder / TABLE_NAMES[0], json.dumps(as_values(results, num_videos, about), indent=2) + "\n")
        atomic_write_text(folder / TABLE_NAMES[1], f"{table}\n\n{_sentence(about)}\n")
        refused = []
        for result in results[1:]:
            if result.loses_too_much:
                refused.append(_refusal(result, num_videos, check.name))
            else:
                move_into_place(unchecked[result.version], folder / PRECISION_NAMES[result.version])
    finally:
        for path in unchecked.values():
            path.unlink(missing_ok=True)
    write_checksums(folder, [CONFIG_NAME, *FILE_NAMES.values(), *PRECISION_NAMES.values(), *TABLE_NAMES])
    return table, refused


def _quantize(
    student: TrainedStudent, source: Path, target: Path, calibration: ChosenVideos, checked: list[str]
) -> None:
    files = [video.file for video in calibration.files]
    if shared := shared_files(files, checked):
        log.warning("%d videos are in both --calibration and --check; what int8 loses elsewhere may be more", shared)
    _, input_names = open_session(source, num_threads=1)
    count = 0

    def feeds() -> Iterator[Feed]:
        nonlocal count
        for clips in clips_of(student, spread(files, NUM_CALIBRATED), VideoSettings(ONE_TEST_VIEW), _log_unread):
            count += 1
            yield feed_of(input_names, clips.frames_VTHWC, clips.valid_VT)

    first = next(made := feeds(), None)
    if first is None:
        raise ValueError(f"--calibration: expected videos that can be read in {calibration.name}, found none.")

    def all_feeds() -> Iterator[Feed]:
        assert first is not None
        yield first
        yield from made

    write_int8(source, target, all_feeds(), reduce_range=needs_reduced_range())
    log.info("int8: ranges from %d videos: %s", count, calibration.name)


def _compare(
    student: TrainedStudent, files: dict[str, Path], labels: dict[str, frozenset[int]], name_of_videos: str
) -> tuple[list[VersionResult], int]:
    sessions, input_names = {}, list[str]()
    for name, path in files.items():
        sessions[name], input_names = open_session(path, num_threads=torch.get_num_threads())
    comparison = Comparison(student, sessions, input_names)
    log.info("comparing %s on %d videos: %s", ", ".join(files), len(labels), name_of_videos)
    comparison.run(clips_of(student, list(labels), VideoSettings(), _log_unread), labels)
    num_videos = len(comparison.labels)
    results = comparison.results({name: path.stat().st_size / 2**20 for name, path in files.items()})
    if num_videos < _FEW_VIDEOS:
        log.warning("--check has %d videos, so one is %.1f points; take a longer list", num_videos, 100 / num_videos)
    return results, num_videos


def _conditions(check: ChosenVideos, calibration: ChosenVideos | None, *, reduced: bool) -> dict[str, object]:
    return {
        "check": check.name,
        "calibration": calibration.name if calibration else None,
        "weights_of_7_bits": reduced,
        "threads": torch.get_num_threads(),
        "processor": _processor(),
        "onnxruntime": version("onnxruntime"),
    }


def _sentence(about: dict[str, object]) -> str:
    return (
        f"Videos: {about['check']}; one clip at a time on {about['processor']}, threads: {about['threads']}, ONNX "
        f"Runtime {about['onnxruntime']}. The interval is that of the paired difference."
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def _refusal(result: VersionResult, num_videos: int, check: str) -> str:
    advice = "calibrate on more videos like those of its use, or take fp16" if result.version == "int8" else "take fp32"
    return (
        f"onnx {result.version}: expected at most {MOST_LOSS:g} point of top-1 below fp32 on {check}, "
        f"found {-result.difference:.1f} below (95 % interval of the difference {result.low:+.1f} to "
        f"{result.high:+.1f} points, {num_videos} videos); the file is deleted: {advice}."
    )


def _log_unread(file: str, reason: str) -> None:
    log.warning("%s: left out: %s", on_one_line(file), reason)
