"""The wheel works alone: away from the checkout, and a student in use needs neither DALI nor what training needs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import numbered_clip
from tests.tiny_student import write_checkpoint

ROOT = Path(__file__).parents[1]
BUILT_FROM = ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE")
# What a student in use does without: neither found nor importable.
NOT_HERE = ("nvidia.dali", "matplotlib", "tensorboard", "torchmetrics", "timm", "onnx")
SERVING = f"""
import runpy, sys
sys.modules.update(dict.fromkeys({NOT_HERE!r}))
sys.argv[0] = "reskd"
runpy.run_module("reskd", run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("source")
    for name in BUILT_FROM:
        shutil.copy(ROOT / name, source)
    for folder in ("reskd", "dali_pipes", "configs", "studies"):
        shutil.copytree(
            ROOT / folder, source / folder, ignore=shutil.ignore_patterns("*.so", "_native_*", "__pycache__")
        )
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps", "--no-index"]
    done = subprocess.run(
        [*command, "-w", "dist", "."], cwd=source, env={**os.environ, "RESKD_BUILD": "none"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (built,) = (source / "dist").glob("reskd-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def _run(installed: Path, cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    return subprocess.run(
        [sys.executable, *words], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_the_wheel_holds_code_types_and_configs_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = (name for name in names if name.endswith("/METADATA"))
        text = archive.read(metadata).decode()
        (scripts,) = (name for name in names if name.endswith("/entry_points.txt"))
        assert "reskd = reskd.__main__:main" in archive.read(scripts).decode()
    shipped = {
        path.relative_to(ROOT).as_posix() for name in ("configs", "studies") for path in (ROOT / name).rglob("*.yaml")
    }
    assert {f"reskd/shipped/{name}" for name in shipped} == {
        name for name in names if name.startswith("reskd/shipped/")
    }
    assert {
        "reskd/__init__.pyi",
        "dali_pipes/__init__.pyi",
        "reskd/first_config/template.yaml",
        "reskd/py.typed",
        "dali_pipes/py.typed",
        "reskd/commands/train.py",
    } <= names
    assert {name.split("/")[0] for name in names} == {"reskd", "dali_pipes", metadata.split("/")[0]}
    base = [line for line in text.splitlines() if line.startswith("Requires-Dist: ") and "extra ==" not in line]
    assert not [line for line in base if "dali" in line or "matplotlib" in line or "tensorboard" in line]
    assert {f"Provides-Extra: {name}" for name in ("train", "export", "ray", "timm", "cuda12", "cuda13")} <= set(
        text.splitlines()
    )


@pytest.mark.slow
def test_the_package_finds_its_configs_from_any_folder(installed: Path, tmp_path: Path) -> None:
    where = _run(installed, tmp_path, "-c", "import reskd; print(reskd.__file__)")
    assert where.stdout.startswith(str(installed))
    missing = _run(installed, tmp_path, "-m", "reskd", "train", "configs/demo/basline.yaml")
    assert missing.returncode == 1
    assert missing.stderr.endswith("found none. Did you mean configs/demo/baseline.yaml?\n")
    counted = _run(installed, tmp_path, "-m", "reskd", "analyze", "flops", "configs/demo/student.yaml")
    assert counted.returncode == 0 and "student" in counted.stdout, counted.stderr
    no_data = _run(installed, tmp_path, "-m", "reskd.train", "configs/demo/baseline.yaml")
    assert no_data.returncode == 1 and "data.root: expected a folder, found nothing at data/demo" in no_data.stderr


@pytest.mark.slow
def test_a_student_is_used_without_what_only_training_needs(installed: Path, tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "last.pt")
    numbered_clip(tmp_path / "a.mp4", "libx264", 12)
    served = _run(installed, tmp_path, "-c", SERVING, "predict", str(checkpoint), "a.mp4", "--json")
    assert served.returncode == 0, served.stderr
    whole = _run(installed, tmp_path, "-m", "reskd", "predict", str(checkpoint), "a.mp4", "--json")
    assert served.stdout == whole.stdout and '"answers"' in served.stdout
    exported = _run(
        installed, tmp_path, "-c", SERVING, "export", str(checkpoint), "--out", "out", "--format", "safetensors"
    )
    assert exported.returncode == 0 and (tmp_path / "out/student.safetensors").is_file(), exported.stderr
    trained = _run(installed, tmp_path, "-c", SERVING, "train", "configs/demo/baseline.yaml")
    assert trained.returncode == 1
    needed = "expected tensorboard, torchmetrics, matplotlib, found none; make install, or pip install 'reskd[train]'."
    assert trained.stderr == f"error: {needed}\n"
