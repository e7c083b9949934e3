"""Writes a model repository for NVIDIA Triton: DALI in front, the exported ONNX student, and their ensemble.

    triton/reskd                  the ensemble, which clients call: frames (and valid) -> logits
    triton/reskd_preprocessing    the DALI backend: whole frames -> the student's view
    triton/reskd_student          the ONNX Runtime backend: views -> logits

A version in lower precision adds an ensemble and a student, reskd_int8 and reskd_student_int8; there is one
preprocessing for all.

No server is needed here: the repository's files are run one after the other, as the ensemble does, and compared with
the student. Shape letters: N clips, T frames, H W sizes of given frames, h w of the view, C = 3 colors, K classes.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dali_pipes.atomic_files import atomic_folder
from dali_pipes.file_names import on_one_line
from dali_pipes.loader.cpu_render import render_plan
from dali_pipes.sampling.clip_plan import VideoShape, plan_clip
from dali_pipes.sampling.spec import ONE_TEST_VIEW, rules_for_views
from dali_pipes.single_pass.triton_pipeline import INPUT, OUTPUT, ViewSteps, run_pipeline, write_pipeline
from reskd.choices import OnnxPrecision
from reskd.inference.deployment.quantization import open_session
from reskd.inference.one_pass import clip_logits
from reskd.inference.student import TrainedStudent

ENSEMBLE, PREPROCESSING, STUDENT = "reskd", "reskd_preprocessing", "reskd_student"
MAX_BATCH_SIZE = 16
# Both resize bilinearly and round to whole levels, OpenCV with weights in 2048ths; twice for a view that is shrunk from
# the teacher's. More would be another crop.
MOST_LEVELS, MOST_MEAN_LEVELS = 4, 0.5
MAX_DIFFERENCE = 1e-4  # of logits, on equal views
_CHECKED_SIZES = ((240, 320), (360, 202), (97, 131))


@dataclass(frozen=True)
class Checked:
    """How far the repository's parts are from the student.

    Args:
        num_clips: compared clips.
        levels, mean_levels: largest and mean difference of the views' pixels from the loader's on a CPU.
        same_view: largest difference of logits on DALI's views.
        whole: largest difference of logits of the whole chain from the student on the loader's views.
        lower: the largest difference of logits of each version in lower precision from fp32, on equal views; the
            comparison on labeled videos has judged it.
    """

    num_clips: int
    levels: int
    mean_levels: float
    same_view: float
    whole: float
    lower: Mapping[OnnxPrecision, float]


def write_repository(
    student: TrainedStudent, onnx_files: Mapping[OnnxPrecision, Path], about: Mapping[str, Any], folder: Path
) -> Checked:
    """Write the repository, compare it, and put it into place; an older one is replaced.

    Args:
        onnx_files: the exported student, "fp32" first, and its versions in lower precision.
        about: the contents of config.json.

    Raises:
        ValueError: DALI is missing; the student takes features or antialiased views; the parts differ from the student.
    """
    steps = _steps(student, about)
    num_frames, height, width = student.shape
    takes_mask = len(open_session(onnx_files["fp32"], num_threads=1)[1]) > 1
    with atomic_folder(folder, replace=True) as made:
        names = "".join(f"{on_one_line(name)}\n" for name in student.class_names)
        shape, num_classes = (num_frames, height, width), len(student.class_names)
        for precision in onnx_files:
            texts = configs(shape, num_classes, takes_mask=takes_mask, precision=precision)
            for name, text in texts.items():
                (made / name / "1").mkdir(parents=True, exist_ok=True)
                (made / name / "config.pbtxt").write_text(text, encoding="utf-8")
                if name != PREPROCESSING:
                    (made / name / "labels.txt").write_text(names, encoding="utf-8")
            shutil.copyfile(onnx_files[precision], _model_file(made, precision))
        write_pipeline(steps, made / PREPROCESSING / "1" / "model.dali", max_batch_size=MAX_BATCH_SIZE)
        return check_repository(student, made, [name for name in onnx_files if name != "fp32"])


def names_of(precision: OnnxPrecision) -> tuple[str, str]:
    """Names of the ensemble and of the student's own model in a precision."""
    end = "" if precision == "fp32" else f"_{precision}"
    return f"{ENSEMBLE}{end}", f"{STUDENT}{end}"


def _model_file(repository: Path, precision: OnnxPrecision) -> Path:
    return repository / names_of(precision)[1] / "1" / "model.onnx"


def remove_repository(folder: Path) -> None:
    """Remove the repository of an earlier export, which may be of another student; any other folder stays."""
    if (folder / PREPROCESSING / "1" / "model.dali").is_file() and (folder / STUDENT).is_dir():
        shutil.rmtree(folder)


def check_repository(student: TrainedStudent, folder: Path, lower: Sequence[OnnxPrecision] = ()) -> Checked:
    """Run the repository's files as its ensemble does, on frames of several sizes, and compare with the student.

    Args:
        lower: precisions of further versions, which must take the same inputs and give numbers.

    Raises:
        ValueError: they differ by more than rounding.
    """
    given = [_frames(student.shape[0], *size, seed=number) for number, size in enumerate(_CHECKED_SIZES)]
    own = [_own_view(student, frames_THWC) for frames_THWC in given]
    views = run_pipeline(folder / PREPROCESSING / "1" / "model.dali", given)
    valid_NT = np.ones((len(given), student.shape[0]), np.bool_)
    views_NTHWC, own_NTHWC = np.stack(views), np.stack(own)

    def logits_of(precision: OnnxPrecision) -> np.ndarray:
        session, names = open_session(_model_file(folder, precision), num_threads=1)
        return session(dict(zip(names, (views_NTHWC, valid_NT), strict=False)))

    logits_NK = logits_of("fp32")
    differences = {name: float(np.abs(logits_of(name) - logits_NK).max()) for name in lower}
    expected = [
        clip_logits(student, torch.from_numpy(one), torch.from_numpy(valid_NT), batch_size=len(one)).numpy()
        for one in (views_NTHWC, own_NTHWC)
    ]
    levels = np.abs(views_NTHWC.astype(np.int16) - own_NTHWC.astype(np.int16))
    same_view, whole = (float(np.abs(logits_NK - one).max()) for one in expected)
    found = Checked(len(given), int(levels.max()), float(levels.mean()), same_view, whole, differences)
    if not (found.levels <= MOST_LEVELS and found.mean_levels <= MOST_MEAN_LEVELS and same_view <= MAX_DIFFERENCE):
        raise ValueError(
            f"triton: expected DALI's views within {MOST_LEVELS} levels of the student's and equal logits to "
            f"{MAX_DIFFERENCE:g}, found {found.levels} levels (mean {found.mean_levels:.2f}) and {same_view:.2g}; "
            "nothing is written."
        )
    if broken := [name for name, difference in differences.items() if not np.isfinite(difference)]:
        raise ValueError(f"triton: expected logits that are numbers, found others in {broken[0]}; leave it out.")
    return found


def configs(
    shape: Sequence[int], num_classes: int, *, takes_mask: bool, precision: OnnxPrecision = "fp32"
) -> dict[str, str]:
    """The text of each model's config.pbtxt, by its name, for the student in one precision.

    Args:
        shape: (T, h, w) of the student's input.
        takes_mask: whether the student has the second input ``valid``.
    """
    num_frames, height, width = shape
    ensemble, student = names_of(precision)
    frames = _tensor(INPUT, "TYPE_UINT8", (num_frames, -1, -1, 3))
    view = (num_frames, height, width, 3)
    valid = [_tensor("valid", "TYPE_BOOL", (num_frames,))] if takes_mask else []
    logits = _tensor("logits", "TYPE_FP32", (num_classes,), labels=True)
    masks = ["valid"] if takes_mask else []
    steps = [
        _step(PREPROCESSING, {INPUT: INPUT}, {OUTPUT: OUTPUT}),
        _step(student, {"frames": OUTPUT} | {name: name for name in masks}, {"logits": "logits"}),
    ]
    schedule = f"ensemble_scheduling {{\n  step [\n{_joined(steps, 4)}\n  ]\n}}\n"
    on_cpu = "instance_group [\n  { kind: KIND_CPU }\n]\n"
    return {
        ensemble: _head(ensemble, 'platform: "ensemble"') + _tensors([frames, *valid], [logits]) + schedule,
        PREPROCESSING: _head(PREPROCESSING, 'backend: "dali"')
        + _tensors([frames], [_tensor(OUTPUT, "TYPE_UINT8", view)])
        + on_cpu,
        student: _head(student, 'backend: "onnxruntime"')
        + _tensors([_tensor("frames", "TYPE_UINT8", view), *valid], [logits])
        + "dynamic_batching { }\n",
    }


def _head(name: str, kind: str) -> str:
    return f'name: "{name}"\n{kind}\nmax_batch_size: {MAX_BATCH_SIZE}\n'


def _tensor(name: str, dtype: str, dims: Sequence[int], *, labels: bool = False) -> str:
    shown = ", ".join(map(str, dims))
    also = ' label_filename: "labels.txt"' if labels else ""
    return f'{{ name: "{name}" data_type: {dtype} dims: [ {shown} ]{also} }}'


def _tensors(inputs: Sequence[str], outputs: Sequence[str]) -> str:
    return f"input [\n{_joined(inputs, 2)}\n]\noutput [\n{_joined(outputs, 2)}\n]\n"


def _step(model: str, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> str:
    maps = [f'input_map {{ key: "{key}" value: "{value}" }}' for key, value in inputs.items()]
    maps += [f'output_map {{ key: "{key}" value: "{value}" }}' for key, value in outputs.items()]
    return f'{{ model_name: "{model}" model_version: -1 {" ".join(maps)} }}'


def _joined(parts: Sequence[str], indent: int) -> str:
    return ",\n".join(" " * indent + part for part in parts)


def _steps(student: TrainedStudent, about: Mapping[str, Any]) -> ViewSteps:
    if len(student.shape) == 2:
        raise ValueError("triton: expected a student of videos, found one of features; serve its student.onnx alone.")
    if about["resize"]["antialias"] or render_plan(student.config.clips.views, ("student",)) is None:
        raise ValueError("triton: expected a student without antialias: true, found one with it; leave triton out.")
    sizes = tuple((int(height), int(width)) for height, width in about["resize"]["sizes"])
    return ViewSteps(aspect=about["crop"]["aspects"][1], ratio=about["crop"]["ratio"], sizes=sizes)


def _own_view(student: TrainedStudent, frames_THWC: np.ndarray) -> np.ndarray:
    """The frames as the loader on a CPU renders them."""
    config = student.config.clips
    rules = rules_for_views(config, ("student",), mode="eval", test_views=ONE_TEST_VIEW)
    render = render_plan(config.views, ("student",))
    assert render is not None
    num_frames, height, width = frames_THWC.shape[:3]
    plan = plan_clip(rules, VideoShape(num_frames, height, width), seed=0, position=0, attempt=0, row=0)
    y, x, crop_height, crop_width = plan.crop
    cut = [frame[y : y + crop_height, x : x + crop_width] for frame in frames_THWC]
    return render.render(cut, student_frames=range(num_frames), flip=False)["student"]


def _frames(num_frames: int, height: int, width: int, *, seed: int) -> np.ndarray:
    """uint8 (T, H, W, C): smooth random pictures, as those of cameras are; the same in every call."""
    import cv2

    coarse = np.random.default_rng(seed).integers(0, 256, (num_frames, 12, 16, 3), dtype=np.uint8)
    return np.stack([cv2.resize(one, (width, height), interpolation=cv2.INTER_CUBIC) for one in coarse])
