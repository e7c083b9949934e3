from __future__ import annotations

import pytest
import torch

from reskd.choices import PrecisionChoice
from reskd.training.precision import Precision, chosen_precision

CPU = torch.device("cpu")
_MESSAGES = (
    "could not create a primitive descriptor for an LSTM forward propagation primitive",
    "\"conv3d\" not implemented for 'BFloat16'",
)


@pytest.mark.parametrize("message", _MESSAGES)
def test_a_precision_without_kernels_is_refused_in_a_sentence(message: str) -> None:
    expected = r"training.precision=bf16: expected cpu kernels .* \(.*\); set training.precision=fp32"
    with pytest.raises(ValueError, match=expected), Precision("bf16", CPU).refused_if_missing():
        raise RuntimeError(message)


def test_other_errors_and_those_of_fp32_stay_as_they_are() -> None:
    with pytest.raises(RuntimeError, match="shapes differ"), Precision("bf16", CPU).refused_if_missing():
        raise RuntimeError("shapes differ")
    with pytest.raises(RuntimeError, match="primitive"), Precision("fp32", CPU).refused_if_missing():
        raise RuntimeError(_MESSAGES[0])


def test_a_real_missing_kernel_is_recognized() -> None:
    """torch has no QR decomposition in fp16."""
    with pytest.raises(ValueError, match="set training.precision=fp32"), Precision("fp16", CPU).refused_if_missing():
        torch.linalg.qr(torch.eye(2, dtype=torch.float16))


def test_auto_is_what_the_device_has(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Precision("auto", CPU).choice == chosen_precision("auto", CPU) == "fp32"
    assert chosen_precision("fp16", CPU) == "fp16"
    for has_bf16, expected in ((True, "bf16"), (False, "fp16")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, has=has_bf16: has)
        assert chosen_precision("auto", torch.device("cuda")) == expected


@pytest.mark.parametrize(("choice", "expected"), [("fp32", 1.0), ("bf16", 1.0), ("fp16", 65536.0)])
def test_the_loss_scale_multiplies_a_loss(choice: PrecisionChoice, expected: float) -> None:
    precision = Precision(choice, CPU)
    assert precision.loss_scale().item() == expected == precision.scaler.scale(torch.ones(())).item()
