from __future__ import annotations

import torch
from torch import Tensor, nn

from reskd.models.config import TsnConfig
from reskd.models.families.registry import build_recognizer
from reskd.outputs import RecognizerOutput
from reskd.profiling.resource_estimate import checkpoint_bytes, estimate_memory, measure_seconds_per_clip, saved_bytes
from reskd.training.precision import Precision


class _Tiny(nn.Module):
    """One convolution and a ReLU: autograd keeps the convolution's input and the ReLU's result."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, padding=1)

    def forward(self, frames_NTHWC: Tensor) -> RecognizerOutput:
        frames_BCHW = frames_NTHWC.flatten(0, 1).permute(0, 3, 1, 2).float()
        features = self.conv(frames_BCHW).relu()
        return RecognizerOutput(features.mean((2, 3)), features.unflatten(0, frames_NTHWC.shape[:2]))


def test_what_autograd_keeps_is_counted_once_and_without_parameters() -> None:
    pixels = 2 * 8 * 6
    assert saved_bytes(_Tiny(), (2, 8, 6)) == 4 * pixels * (3 + 5)


def test_the_count_matches_what_a_real_pass_keeps() -> None:
    torch.manual_seed(0)
    model = build_recognizer(TsnConfig(backbone="resnet18"), 10)
    own = {tensor.data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    kept: dict[int, Tensor] = {}

    def note(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        model(torch.zeros((1, 2, 64, 64, 3), dtype=torch.uint8))
    real = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    assert abs(saved_bytes(model, (2, 64, 64)) - real) < 0.05 * real


def test_memory_grows_with_clips_and_shrinks_in_half_precision() -> None:
    with torch.device("meta"):
        student = build_recognizer(TsnConfig(backbone="resnet18"), 10)
    shapes = {"student": (2, 64, 64)}
    full, half = (estimate_memory(student, None, shapes, precision) for precision in ("fp32", "fp16"))
    assert full.total_bytes(3) - full.total_bytes(2) == full.bytes_per_clip
    assert half.bytes_per_clip < 0.6 * full.bytes_per_clip
    with torch.device("meta"):
        teacher = build_recognizer(TsnConfig(backbone="resnet18"), 10)
    shapes["teacher"] = (2, 64, 64)
    learning = estimate_memory(student, teacher, shapes, "fp32")
    frozen = estimate_memory(student, teacher.requires_grad_(False), shapes, "fp32")
    assert full.fixed_bytes < frozen.fixed_bytes < learning.fixed_bytes == 2 * full.fixed_bytes
    assert learning.bytes_per_clip - frozen.bytes_per_clip > 0.9 * full.bytes_per_clip


def test_a_checkpoint_holds_weights_and_momentum() -> None:
    one = 8 * (5 * 3 * 9 + 5)
    assert checkpoint_bytes(_Tiny(), None) == checkpoint_bytes(_Tiny(), _Tiny().requires_grad_(False)) == one
    assert checkpoint_bytes(_Tiny(), _Tiny()) == 2 * one


def test_time_is_measured_with_made_up_weights() -> None:
    with torch.device("meta"):
        student, teacher = _Tiny(), _Tiny()
    shapes = {"student": (2, 8, 6), "teacher": (2, 16, 12)}
    precision = Precision("fp32", torch.device("cpu"))
    seconds = measure_seconds_per_clip(student, teacher, shapes, precision, num_clips=2)
    assert 0 < seconds < 10
    assert not any(parameter.is_meta for parameter in student.parameters())
