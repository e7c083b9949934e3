"""setup.py and the native operators: a build that fails or is skipped leaves a package that works and says why."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from reskd.environment import native_library_name

ROOT = Path(__file__).parents[1]
REPORT = f"reskd/{native_library_name(torch.__version__)}.json"


BROKEN = "this does not compile\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what a build needs, with sources that no compiler accepts."""
    for name in ("setup.py", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    for package in ("reskd", "dali_pipes"):
        left_out = shutil.ignore_patterns("*.so", "_native_*", "__pycache__")
        shutil.copytree(ROOT / package, tmp_path / package, ignore=left_out)
    for source in (tmp_path / "reskd/csrc").rglob("*.cpp"):
        source.write_text(BROKEN)
    return tmp_path


def _build(checkout: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name != "RESKD_BUILD"}
    return subprocess.run(
        [sys.executable, "setup.py", "build_ext", "--inplace"],
        cwd=checkout,
        env={**inherited, "PATH": os.defpath, **environment},  # without nvcc
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_a_failed_build_leaves_a_package_that_says_why(checkout: Path) -> None:
    built = _build(checkout)
    assert built.returncode == 0, built.stderr
    reasons = json.loads((checkout / REPORT).read_text())
    assert "did not compile" in reasons["cpu"]
    assert reasons["cuda"]
    program = (
        "import torch; from reskd.ops.interpolate_mse import *\n"
        "print(available_backends()); print(interpolate_mse_loss(torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 2, 2)))"
    )
    used = subprocess.run([sys.executable, "-c", program], cwd=checkout, capture_output=True, text=True, check=True)
    assert "did not compile" in used.stdout
    assert "tensor(1.)" in used.stdout
    assert used.stderr.count("falls back to plain PyTorch") == 1


@pytest.mark.slow
def test_where_cuda_does_not_compile_the_cpu_operators_do(checkout: Path) -> None:
    if torch.version.cuda is None:
        pytest.skip("needs a torch with CUDA")
    shutil.copytree(ROOT / "reskd/csrc", checkout / "reskd/csrc", dirs_exist_ok=True)
    nvcc = checkout / "toolkit/bin/nvcc"
    nvcc.parent.mkdir(parents=True)
    nvcc.write_text(f"#!/bin/sh\necho 'release {torch.version.cuda}, V1'\n[ \"$1\" = --version ]\n")
    nvcc.chmod(0o755)
    built = _build(checkout, CUDA_HOME=str(nvcc.parents[1]))
    assert built.returncode == 0, built.stderr
    reasons = json.loads((checkout / REPORT).read_text())
    assert reasons["cpu"] is None
    assert "did not compile" in reasons["cuda"]
    program = (
        "import torch; from reskd.ops.interpolate_mse import *\n"
        "print(interpolate_mse_loss(torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 2, 2), backend='cpu'))"
    )
    used = subprocess.run([sys.executable, "-c", program], cwd=checkout, capture_output=True, text=True, check=True)
    assert "tensor(1.)" in used.stdout


@pytest.mark.slow
def test_a_build_that_was_asked_for_must_succeed(checkout: Path) -> None:
    assert _build(checkout, RESKD_BUILD="cpu").returncode != 0
    refused = _build(checkout, RESKD_BUILD="cuda", CUDA_HOME=str(checkout))
    assert refused.returncode != 0
    assert "RESKD_BUILD=cuda: " in refused.stderr


def test_a_wish_that_does_not_exist_is_refused(checkout: Path) -> None:
    refused = _build(checkout, RESKD_BUILD="gpu")
    assert "expected none, cpu or cuda, found 'gpu'" in refused.stderr


def test_nothing_is_built_where_none_is_wanted(checkout: Path) -> None:
    assert _build(checkout, RESKD_BUILD="none").returncode == 0
    assert not (checkout / REPORT).exists()
