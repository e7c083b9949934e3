"""Export a trained student for other programs.

    reskd export runs/demo_student/last.pt --out exported
    reskd export runs/demo_student/last.pt --out exported --format safetensors --clips my_video.mp4
    reskd export runs/demo_student/last.pt --out exported --format onnx triton
    reskd export runs/demo_student/last.pt --out exported --format onnx --precision fp16 int8
    reskd export runs/demo_student/last.pt --out exported --format onnx --precision fp16 int8 \\
        --calibration my_videos/ --check my_labeled_videos.csv

Writes student.onnx, student.pt2 (torch.export), student.safetensors and config.json; beside student.onnx run_onnx.py,
which classifies videos with it and needs onnxruntime, av and numpy alone. A student of frames takes uint8
frames (N, T, H, W, 3). A student of features takes uint8 features (N, T, D) and a bool array (N, T) that marks the
valid frames. Both return logits (N, K), for any N; docs/deploy.md shows programs that use them.

Each file is read back and compared with the student on random inputs and, for a student of frames, on real clips. A
file whose logits differ by more than 1e-4 is deleted, and the exit code is 1.

--format triton also writes a model repository for NVIDIA Triton: DALI in front of student.onnx, and their ensemble. Its
files are run one after the other and compared with the student. With --precision it holds these versions too.

--precision adds student_fp16.onnx and student_int8.onnx. They are compared with fp32 on the labeled videos of --check:
top-1, the paired interval, and the latency of a clip. One that loses more than a point is deleted, and the exit code
is 1. By default the run's validation videos are compared (its test list, if it has none), and its training videos set
the ranges of int8.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from reskd.choices import ExportFormat, OnnxPrecision
from reskd.cli import add_temperature, add_trust_code, command_parser, require_checkpoint

if TYPE_CHECKING:
    from reskd.inference.student import TrainedStudent

log = logging.getLogger(__name__)
TRITON = "triton"  # also the name of its folder


def main(arguments: Sequence[str]) -> None:
    chosen = build_parser().parse_args(arguments)
    require_checkpoint(chosen.checkpoint)
    import torch

    from reskd.inference.deployment.lower_precision import add_precisions, check_precisions
    from reskd.inference.deployment.run_splits import PrecisionLists
    from reskd.inference.deployment.triton import remove_repository
    from reskd.inference.export import (
        CHECKED_BATCH_SIZES,
        MAX_DIFFERENCE,
        Refusal,
        check_packages,
        export_student,
    )
    from reskd.inference.export_clips import clips_to_compare
    from reskd.inference.student import describe_student, load_trained_student

    formats = [name for name in dict.fromkeys(chosen.format) if name != TRITON]
    wants_triton = TRITON in chosen.format
    if wants_triton and "onnx" not in formats:
        formats.append("onnx")
    check_precisions(chosen.precision, formats, chosen.check, chosen.calibration)
    for name in formats:
        check_packages(name)
    student = load_trained_student(
        chosen.checkpoint, torch.device("cpu"), trust_code=chosen.trust_code, temperature=chosen.temperature
    )
    clips = clips_to_compare(student, chosen.clips)
    log.info("comparing on %s clips, %s at once", " and ".join(clips), " and ".join(map(str, CHECKED_BATCH_SIZES)))
    remove_repository(chosen.out / TRITON)
    refused = []
    about = describe_student(student)
    for found in export_student(student.model, student.shape, chosen.out, formats=formats, about=about, clips=clips):
        if isinstance(found, Refusal):
            refused.append(found.reason)
            continue
        size_mib = found.path.stat().st_size / 2**20
        print(f"{found.path}  {size_mib:.1f} MiB  logits within {found.difference:.1e} of the student's", flush=True)
    if not refused and set(chosen.precision) != {"fp32"}:
        lists = PrecisionLists(chosen.checkpoint.parent, chosen.check, chosen.calibration, chosen.root)
        table, refused = add_precisions(student, chosen.out, chosen.precision, lists)
        print(table, flush=True)
    if not refused and wants_triton:
        _write_triton(student, chosen.out, chosen.precision, about)
    if refused:
        raise ValueError("\n".join(refused))
    print(f"done: {chosen.out}, all within {MAX_DIFFERENCE:g}")


def _write_triton(
    student: TrainedStudent, folder: Path, precisions: Sequence[OnnxPrecision], about: Mapping[str, Any]
) -> None:
    from reskd.inference.deployment.triton import write_repository
    from reskd.inference.export import FILE_NAMES, PRECISION_NAMES, TRITON_CLIENT, write_client

    files: dict[OnnxPrecision, Path] = {"fp32": folder / FILE_NAMES["onnx"]}
    files |= {name: folder / PRECISION_NAMES[name] for name in dict.fromkeys(precisions) if name != "fp32"}
    checked = write_repository(student, files, about, folder / TRITON)
    write_client(TRITON_CLIENT, folder)
    lower = "".join(f", {name} within {difference:.1e} of fp32" for name, difference in checked.lower.items())
    print(
        f"{folder / TRITON}  views within {checked.levels} levels (mean {checked.mean_levels:.2f}), logits within "
        f"{checked.same_view:.1e} on equal views ({checked.whole:.1e} on DALI's own, not judged{lower}), on "
        f"{checked.num_clips} clips",
        flush=True,
    )


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser("export", __doc__)
    parser.add_argument("checkpoint", type=Path, help="last.pt or best.pt of a run")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="folder to write; made if it is not there"
    )
    formats = get_args(ExportFormat)
    parser.add_argument(
        "--format",
        nargs="+",
        choices=[*formats, TRITON],
        default=formats,
        help="which files (default: all but triton)",
    )
    parser.add_argument(
        "--clips",
        nargs="+",
        metavar="VIDEO",
        help="videos to compare on; default: some of the training data, or a generated clip if they are not here",
    )
    add_trust_code(parser)
    add_temperature(parser)
    lower = parser.add_argument_group("fp16 and int8 of ONNX")
    lower.add_argument(
        "--precision",
        nargs="+",
        choices=get_args(OnnxPrecision),
        default=["fp32"],
        help="versions of student.onnx; fp32 is always written (default)",
    )
    lower.add_argument(
        "--calibration",
        metavar="LIST",
        help="videos for int8's ranges: a list, a folder, or train, val or test of the run (default train)",
    )
    lower.add_argument(
        "--check",
        metavar="LIST",
        help="labeled videos to compare the versions on: a list, a folder of class folders, or train, val or test of "
        "the run (default: val, or test if there is none)",
    )
    lower.add_argument(
        "--root", type=Path, help="folder of the videos (default: each list's own; for splits of the run its data.root)"
    )
    return parser
