"""Writes fp16 and int8 versions of an exported ONNX student with ONNX Runtime's own tools.

Note [What int8 means here]
Static quantization in QDQ form (QuantizeLinear and DequantizeLinear around each operator), as ONNX Runtime's guide
(onnxruntime.ai, "Quantize ONNX models") advises for CNNs: uint8 activations with ranges from calibration clips, int8
weights with one scale per output channel. Shapes are inferred and the graph is optimized first (quant_pre_process).
On x86 processors without VNNI instructions, the sum of two products of 8 bits saturates in 16, so weights get 7 bits
there (reduce_range), as the guide says. The normalization of pixels stays in fp32.
"""

from __future__ import annotations

import contextlib
import logging
import platform
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

Feed = Mapping[str, np.ndarray]
Session = Callable[[Feed], np.ndarray]


def write_fp16(source: Path, target: Path) -> None:
    """Convert weights and arithmetic to fp16; inputs stay uint8 and logits float32."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = onnx.load(source)
    kept = {entry.key: entry.value for entry in model.metadata_props}
    with _quiet():
        half = convert_float_to_float16(model, keep_io_types=True)
    onnx.helper.set_model_props(half, kept)
    onnx.save(half, target)


def write_int8(source: Path, target: Path, feeds: Iterator[Feed], *, reduce_range: bool) -> None:
    """Quantize. See Note [What int8 means here].

    Args:
        feeds: inputs of the model by name, for the ranges of activations.
        reduce_range: 7 bits for weights.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def get_next(self) -> Feed | None:
            return next(feeds, None)

    model = onnx.load(source)
    kept = {entry.key: entry.value for entry in model.metadata_props}
    with tempfile.TemporaryDirectory(prefix="quantize_", dir=target.parent) as folder, _quiet():
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(source), str(prepared))
        quantize_static(
            str(prepared),
            str(target),
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=reduce_range,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
    quantized = onnx.load(target)
    onnx.helper.set_model_props(quantized, kept)
    onnx.save(quantized, target)


def needs_reduced_range() -> bool:
    """Whether this machine's processor is an x86 without VNNI."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    try:
        return "vnni" not in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def open_session(path: Path, *, num_threads: int) -> tuple[Session, list[str]]:
    """A function from inputs by name to float32 logits (N, K), and the names of the inputs."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.log_severity_level = 3  # errors alone
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def logits(feed: Feed) -> np.ndarray:
        found: np.ndarray = session.run(["logits"], dict(feed))[0]
        return found

    return logits, [given.name for given in session.get_inputs()]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the tools' advice, which the guide's steps above follow already."""
    import warnings

    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
