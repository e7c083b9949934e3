"""Exports the student to files that other programs run: ONNX, torch.export, safetensors.

Each file is read back and compared with the student before it gets its name. Shape letters: N clips, T frames, H W
heights and widths, C = 3 colors, D features of a frame, K classes.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from dali_pipes.atomic_files import atomic_write_text, move_into_place
from reskd.choices import ExportFormat
from reskd.extensions.trust import check_trusted
from reskd.inference.checksums import CHECKSUMS_NAME, check_checksums, write_checksums
from reskd.models.config import AggregatedConfig, FeaturesConfig, RecognizerConfig, network_name, parse_recognizer
from reskd.models.families.registry import build_recognizer
from reskd.models.recognizer import Recognizer, data_shape
from reskd.models.weights.files import read_weight_file, write_safetensors
from reskd.models.weights.load import load_recognizer_state

Inputs = tuple[Tensor, ...]  # frames_NTHWC or features_NTD, and valid_NT if the student takes it
Answer = Callable[..., Tensor]

# In the order of writing: after torch 2.6 exports to ONNX, the program takes exactly two clips.
FILE_NAMES: Mapping[ExportFormat, str] = {
    "safetensors": "student.safetensors",
    "torch_export": "student.pt2",
    "onnx": "student.onnx",
}
# What deployment/lower_precision.py adds.
PRECISION_NAMES: Mapping[str, str] = {"fp16": "student_fp16.onnx", "int8": "student_int8.onnx"}
TABLE_NAMES = ("precisions.json", "precisions.md")
# Programs that run the export, of clients/. They have no checksums: a user may change them.
ONNX_CLIENT, TRITON_CLIENT = "run_onnx.py", "triton_client.py"
CONFIG_NAME = "config.json"
METADATA_KEY = "reskd"  # under which the .onnx and the .pt2 hold the contents of config.json
MAX_DIFFERENCE = 1e-4  # of logits, between a file and the student
CHECKED_BATCH_SIZES = (1, 7)
_MOST_CLIPS = 65536  # torch 2.6 needs an upper bound
_PACKAGES: Mapping[ExportFormat, tuple[str, ...]] = {
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "torch_export": (),
    "safetensors": (),
}


class ShippedStudent(nn.Module):
    """uint8 frames_NTHWC in, fp32 logits_NK out; the normalization is inside."""

    def __init__(self, model: Recognizer) -> None:
        super().__init__()
        self.recognizer = model

    def forward(self, frames_NTHWC: Tensor) -> Tensor:
        logits_NK: Tensor = self.recognizer(frames_NTHWC).logits_NK
        return logits_NK


class ShippedMaskedStudent(nn.Module):
    """uint8 frames_NTHWC or features_NTD and bool valid_NT in, fp32 logits_NK out; the normalization is inside."""

    def __init__(self, model: Recognizer) -> None:
        super().__init__()
        self.recognizer = model

    def forward(self, data: Tensor, valid_NT: Tensor) -> Tensor:
        logits_NK: Tensor = self.recognizer(data, valid_NT).logits_NK
        return logits_NK


class ExportedFile(NamedTuple):
    """A file whose logits match the student's; ``difference`` is the largest one found."""

    format: ExportFormat
    path: Path
    difference: float


class _DiffersError(ValueError):
    """A file's logits differ from the student's."""


class Refusal(NamedTuple):
    """A format that was not written, and the reason in one sentence."""

    format: ExportFormat
    reason: str


def export_student(
    model: Recognizer,
    shape: tuple[int, ...],
    folder: Path,
    *,
    formats: Sequence[ExportFormat],
    about: Mapping[str, Any],
    clips: Mapping[str, Inputs],
) -> Iterator[ExportedFile | Refusal]:
    """Write each format into ``folder``, and ``about`` as config.json; remove the files of an earlier export.

    A format is refused if torch cannot export this model, or if the file's logits differ from the model's.

    Args:
        model: in eval mode, on the CPU.
        shape: (T, H, W) of the clips, or (T, D); the files fix all dimensions but the number of clips.
        clips: name -> uint8 frames_NTHWC or features_NTD, and bool valid_NT if ``asks_which_are_valid``; N >= 1; every
            file is compared with the model on them.

    Raises:
        ValueError: a package is missing; nothing was written or removed.
    """
    for name in formats:
        check_packages(name)
    folder.mkdir(parents=True, exist_ok=True)
    programs = (ONNX_CLIENT, TRITON_CLIENT)
    for left in (*FILE_NAMES.values(), *PRECISION_NAMES.values(), *TABLE_NAMES, CHECKSUMS_NAME, *programs):
        (folder / left).unlink(missing_ok=True)
    atomic_write_text(folder / CONFIG_NAME, json.dumps(dict(about), indent=2) + "\n")
    program: ExportedProgram | None = None
    for name in sorted(formats, key=list(FILE_NAMES).index):
        path = folder / FILE_NAMES[name]
        unchecked = folder / f"unchecked_{FILE_NAMES[name]}"
        try:
            if program is None and name != "safetensors":
                program = _trace(model, shape, name)
            _write(name, model, program, unchecked, about)
            with _one_sentence(name, model):
                difference = _largest_difference(_shipped(model), _open(name, unchecked), clips)
            move_into_place(unchecked, path)
        except ValueError as reason:
            yield Refusal(name, f"{name}: {reason}")
            continue
        finally:
            unchecked.unlink(missing_ok=True)
        if name == "onnx" and not isinstance(model.config, FeaturesConfig):
            write_client(ONNX_CLIENT, folder)
        write_checksums(folder, [CONFIG_NAME, *FILE_NAMES.values()])
        yield ExportedFile(name, path, difference)


def write_client(name: str, folder: Path) -> None:
    """Copy a program of clients/ beside the exported student; an older one is replaced."""
    source = Path(__file__).parent / "clients" / name
    atomic_write_text(folder / name, source.read_text(encoding="utf-8"))


def check_packages(name: ExportFormat) -> None:
    """Raises ValueError if a format's packages are not installed."""
    for package in _PACKAGES[name]:
        try:
            importlib.import_module(package)
        except ImportError:
            raise ValueError(
                f"{name}: expected the package {package}, found none; pip install 'reskd[export]', or choose other "
                "formats with --format."
            ) from None


def load_exported_student(path: Path, *, trust_code: bool = False) -> Recognizer:
    """The student of an exported ``student.safetensors``, in eval mode; no other file is needed.

    If the list of checksums lies beside it, all files of the export are compared with it.

    Args:
        trust_code: whether code may be executed that the file names (family python).

    Raises:
        FileNotFoundError, ValueError: it is missing, cannot be read, was not exported, or a checksum is another one; it
            names code that is not trusted.
    """
    file = read_weight_file(path)
    check_checksums(path.parent)
    if file.settings is None or file.class_names is None:
        raise ValueError(f"{path}: expected an exported student, found weights without settings and classes.")
    try:
        config = parse_recognizer({**file.settings, "weights": "none"})
    except ValidationError as error:
        raise ValueError(
            f"{path}: expected the settings of a recognizer in it, found {' '.join(str(error).split())[:200]}."
        ) from None
    check_trusted(config, str(path), trust_code=trust_code)
    model = build_recognizer(config, len(file.class_names))
    load_recognizer_state(model, file.tensors, source=str(path))
    return model.eval()


def asks_which_are_valid(config: RecognizerConfig) -> bool:
    """Whether the student takes a mask of valid frames: missing or repeated frames change an aggregator's answer."""
    return isinstance(config, (AggregatedConfig, FeaturesConfig))


def _shipped(model: Recognizer) -> nn.Module:
    return (ShippedMaskedStudent if asks_which_are_valid(model.config) else ShippedStudent)(model).eval()


def _input_names(config: RecognizerConfig) -> list[str]:
    data = "features" if isinstance(config, FeaturesConfig) else "frames"
    return [data, "valid"] if asks_which_are_valid(config) else [data]


def _trace(model: Recognizer, shape: tuple[int, ...], name: ExportFormat) -> ExportedProgram:
    inputs: Inputs = (torch.zeros(data_shape(shape, 2), dtype=torch.uint8),)
    if asks_which_are_valid(model.config):
        inputs += (torch.ones((2, shape[0]), dtype=torch.bool),)
    num_clips = Dim("N", min=1, max=_MOST_CLIPS)
    with _one_sentence(name, model), torch.no_grad():
        return torch.export.export(
            _shipped(model), inputs, dynamic_shapes=tuple({0: num_clips} for _ in inputs), strict=False
        )


def _write(
    name: ExportFormat, model: Recognizer, program: ExportedProgram | None, path: Path, about: Mapping[str, Any]
) -> None:
    if name == "safetensors":
        write_safetensors(
            path, model.state_dict(), settings=model.config.settings_beside_weights(), class_names=about["class_names"]
        )
        return
    assert program is not None
    with _one_sentence(name, model):
        if name == "torch_export":
            torch.export.save(program, path, extra_files={METADATA_KEY: json.dumps(dict(about))})
        else:
            _write_onnx(program, path, about, input_names=_input_names(model.config))


def _write_onnx(program: ExportedProgram, path: Path, about: Mapping[str, Any], *, input_names: list[str]) -> None:
    import onnx

    names: dict[str, Any] = {"input_names": input_names, "output_names": ["logits"]}
    torch.onnx.export(program, (), path, **names, dynamo=True, external_data=False, verbose=False)
    graph = onnx.load(path)
    onnx.helper.set_model_props(graph, {METADATA_KEY: json.dumps(dict(about))})
    onnx.save(graph, path)


def _open(name: ExportFormat, path: Path) -> Answer:
    """A function that runs the file as another program would."""
    if name == "safetensors":
        return _shipped(load_exported_student(path, trust_code=True))  # of this very student
    if name == "torch_export":
        program: Answer = torch.export.load(path).module()
        return program
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors alone
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]

    def answer_of_onnx(*inputs: Tensor) -> Tensor:
        given = {name: value.numpy() for name, value in zip(names, inputs, strict=True)}
        return torch.from_numpy(session.run(["logits"], given)[0])

    return answer_of_onnx


@torch.no_grad()
def _largest_difference(student: nn.Module, answer: Answer, clips: Mapping[str, Inputs]) -> float:
    """The largest difference of logits over the clips, one at a time and seven together.

    Raises:
        _DiffersError: it is above ``MAX_DIFFERENCE``, or NaN.
    """
    largest = 0.0
    for kind, inputs in clips.items():
        for batch_size in CHECKED_BATCH_SIZES:
            batch = [value[torch.arange(batch_size) % len(value)] for value in inputs]
            expected_NK = student(*batch)
            difference = (answer(*batch) - expected_NK).abs().max().item()
            if not difference <= MAX_DIFFERENCE:  # true for NaN too
                raise _DiffersError(
                    f"expected the student's logits to {MAX_DIFFERENCE:g}, found a difference of "
                    f"{difference:.2g} on {kind} clips, {batch_size} at once (logits up to "
                    f"{expected_NK.abs().max().item():.3g}); the file is deleted."
                )
            largest = max(largest, difference)
    return largest


@contextlib.contextmanager
def _one_sentence(name: ExportFormat, model: Recognizer) -> Iterator[None]:
    """Silence an exporter, and turn its pages of error text into one sentence."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    except (OSError, _DiffersError):  # a full disk is no fault of the exporter
        raise
    except Exception as error:
        versions = ", ".join(f"{package} {version(package)}" for package in ("torch", *_PACKAGES[name]))
        cause = (str(error.__cause__ or error).splitlines() or [type(error).__name__])[0][:200]
        raise ValueError(
            f"{versions} cannot export a student of the family {model.config.family} "
            f"({network_name(model.config)}): {type(error).__name__}: {cause}; choose other formats with "
            "--format, or the versions in docs/deploy.md."
        ) from error
    finally:
        logging.disable(logging.NOTSET)
