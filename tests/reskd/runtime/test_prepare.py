from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torchvision.models import resnet18

from reskd.distributed import World
from reskd.models.families.pixel_recognizer import scaled
from reskd.runtime.config import RuntimeConfig
from reskd.runtime.prepare import choose_kernels, convert_batch_norms, prepare_networks
from tests.devices import CUDA
from tests.reskd.training.tiny import make_trainer

CPU = World(0, 1, torch.device("cpu"))


@pytest.fixture(autouse=True)
def _globals() -> Iterator[None]:
    cudnn, products = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.benchmark, cudnn.allow_tf32, products.allow_tf32
    yield
    cudnn.benchmark, cudnn.allow_tf32, products.allow_tf32 = before
    torch.use_deterministic_algorithms(False)
    torch.compiler.reset()


@pytest.mark.parametrize(
    ("choice", "convolutions", "products"),
    [("convolutions", True, False), ("all", True, True), ("off", False, False)],
)
def test_tf32_is_what_the_setting_says(choice: str, convolutions: bool, products: bool) -> None:
    choose_kernels(RuntimeConfig(tf32=choice), CPU, deterministic=True)
    assert torch.backends.cudnn.allow_tf32 is convolutions
    assert torch.backends.cuda.matmul.allow_tf32 is products
    assert torch.are_deterministic_algorithms_enabled() and not torch.backends.cudnn.benchmark


def test_the_default_is_torchs_own() -> None:
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    choose_kernels(RuntimeConfig(), CPU, deterministic=False)
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("device", "choice", "graphs"),
    [
        ("cpu", "teacher", False),
        ("cpu", "all", False),
        pytest.param("cuda", "teacher", False, marks=CUDA.marks),
        pytest.param("cuda", "all", False, marks=CUDA.marks),
        pytest.param("cuda", "all", True, marks=CUDA.marks),
    ],
)
def test_compiled_networks_learn_as_others_do(device: str, choice: str, graphs: bool, tmp_path: Path) -> None:
    world = World(0, 1, torch.device(device))
    weights = {}
    for name in ("eager", "compiled"):
        trainer = make_trainer(tmp_path / name, world=world)
        trainer.trainable.student.dropout.p = 0.0  # a compiled network draws its masks in another order
        names = list(trainer.state()["student"])
        if name == "compiled":
            config = RuntimeConfig(compile=choice, cuda_graphs=graphs)
            prepare_networks(trainer.trainable.student, trainer.teacher, config, world)
        batches = itertools.cycle([batch.to(device) for batch in itertools.islice(trainer.make_loader(0), 3)])
        for _ in range(5):
            trainer.train_step(batches)
        weights[name] = trainer.state()["student"]
        assert list(weights[name]) == names
    for name, value in weights["eager"].items():
        torch.testing.assert_close(weights["compiled"][name], value, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["cuda_graphs", "sync_batch_norm"])
def test_what_needs_a_gpu_is_refused_without_one(name: str) -> None:
    config = RuntimeConfig(compile="teacher", **{name: True})
    with pytest.raises(ValueError, match=f"runtime.{name}: expected a GPU, found cpu; set it to false."):
        choose_kernels(config, CPU, deterministic=False)


def test_graphs_need_compiled_networks() -> None:
    with pytest.raises(ValidationError, match="expected compile to be teacher or all, found off"):
        RuntimeConfig(cuda_graphs=True)


def test_batch_norms_are_converted_but_for_those_that_stay_in_eval() -> None:
    class Kept(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.learned, self.kept = resnet18(), resnet18()

        def train(self, mode: bool = True) -> Kept:
            super().train(mode)
            self.kept.eval()
            return self

    network = Kept()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    convert_batch_norms(network)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert type(network.learned.bn1) is nn.SyncBatchNorm and type(network.learned.layer1[0].bn1) is nn.SyncBatchNorm
    assert type(network.kept.bn1) is nn.BatchNorm2d
    convert_batch_norms(network)  # nothing is left to do


def test_timms_batch_norm_keeps_its_activation() -> None:
    timm = pytest.importorskip("timm")
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    convert_batch_norms(network)
    assert type(network.bn1).__name__ == "SyncBatchNormAct"
    assert type(network.bn1.act) is nn.ReLU6


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_pixels_in_half_precision_are_the_rounded_ones(dtype: torch.dtype) -> None:
    """The formula that a GPU computes, here on a CPU: at most one step of the dtype beside the exact value."""
    _check_pixels("cpu", dtype)


@pytest.mark.parametrize("device", [CUDA])
def test_a_gpu_takes_bytes_and_writes_half_precision(device: str) -> None:
    for dtype in (torch.float16, torch.bfloat16):
        _check_pixels(device, dtype)


def _check_pixels(device: str, dtype: torch.dtype) -> None:
    mean_C, std_C = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])
    data = torch.arange(256, dtype=torch.uint8)[:, None].expand(256, 3).contiguous()
    found = scaled(data.to(device), mean_C.to(device), std_C.to(device), dtype)
    exact = (data.double() - mean_C.double()) / std_C.double()
    assert found.dtype == dtype and found.shape == data.shape
    step = torch.finfo(dtype).eps * exact.abs().clamp(min=torch.finfo(dtype).smallest_normal)
    assert ((found.cpu().double() - exact).abs() <= step + 3e-7).all()
