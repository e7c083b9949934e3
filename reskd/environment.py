"""The versions this project was tested with, and the software and hardware it runs on now.

Only the standard library is imported at the top, so setup.py and the Dockerfile can run this file before anything is
installed.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import os
import platform
import re
import subprocess
import sysconfig
from collections.abc import Collection, Mapping
from pathlib import Path

# Distribution -> oldest and newest release series that the tests ran with, both inclusive.
# setup.py asks for the oldest or newer, requirements/constraints.txt ends at the newest, reskd doctor checks against
# both, requirements/min.txt pins the oldest of each. What a student needs in use:
TESTED: dict[str, tuple[str, str]] = {
    "torch": ("2.6", "2.15"),
    "torchvision": ("0.21", "0.29"),
    "av": ("17", "18"),
    "numpy": ("1.26", "2.4"),
    "opencv-python-headless": ("4.11", "5.0"),
    "safetensors": ("0.4", "0.8"),
    "google-crc32c": ("1.7", "1"),
    "pydantic": ("2.10", "2"),
    "pyyaml": ("6.0", "6"),
    "rich": ("13.9", "15"),
}

# The extra "train": what training, evaluation and their reports need beside it.
TESTED_FOR_TRAINING: dict[str, tuple[str, str]] = {
    "tensorboard": ("2.19", "2"),
    "torchmetrics": ("1.6", "1"),
    "matplotlib": ("3.9", "3"),
}

# The extras "cuda12" and "cuda13": what depends on CUDA's major version, and the load of a GPU in the metrics. Both
# DALIs fill one Python package, so an environment has one of them; either runs without a GPU too.
TESTED_BY_CUDA: dict[str, dict[str, tuple[str, str]]] = {
    "cuda12": {"nvidia-dali-cuda120": ("2.4", "2.4"), "nvidia-ml-py": ("12.535", "13")},
    "cuda13": {"nvidia-dali-cuda130": ("2.4", "2.4"), "nvidia-ml-py": ("12.535", "13")},
}
DALIS = ("nvidia-dali-cuda120", "nvidia-dali-cuda130")
# All of them fill the Python package cv2.
OPENCVS = ("opencv-python-headless", "opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python")

# The extra "export", needed by reskd export only. torch 2.6 needs the oldest onnxscript.
TESTED_FOR_EXPORT: dict[str, tuple[str, str]] = {
    "onnx": ("1.19", "1.23"),
    "onnxscript": ("0.3", "0.7"),
    "onnxruntime": ("1.22", "1.31"),
}

# The extra "timm": networks of timm, reskd/models/timm_catalog.py. Earlier ones cannot be built on the meta device.
TESTED_FOR_TIMM: dict[str, tuple[str, str]] = {"timm": ("1.0.24", "1.0")}

# The extra "docs", needed by make docs only. The theme is for MkDocs 1, and ends with it.
TESTED_FOR_DOCS: dict[str, tuple[str, str]] = {
    "mkdocs": ("1.6", "1"),
    "mkdocs-material": ("9.7", "9"),
    "mkdocstrings": ("1.0", "1"),
    "mkdocstrings-python": ("2.0", "2"),
    "ruff": ("0.12", "0"),  # formats signatures
}


def requirements(table: Mapping[str, tuple[str, str]] = TESTED, *, without: Collection[str] = ()) -> list[str]:
    """The oldest tested releases in pip's format, as ``torch>=2.6``, except the names in ``without``."""
    return [f"{name}>={oldest}" for name, (oldest, _) in table.items() if name not in without]


def constraints() -> list[str]:
    """The lines of requirements/constraints.txt: where each tested range ends, as ``torch<2.16``."""
    lines = []
    for name, (_, newest) in _all_tested().items():
        *head, last = newest.split(".")
        lines.append(f"{name}<{'.'.join([*head, str(int(last) + 1)])}")
    return lines


def in_tested_range(name: str, version: str) -> bool:
    """Whether ``version`` lies in a tested release series; the pre-releases of NVIDIA's images count as their release.

    Raises:
        ValueError: the version does not start with a number.
    """
    release = _release(version)
    oldest, newest = (_release(end) for end in _all_tested()[name])
    return release >= oldest and release[: len(newest)] <= newest


def _all_tested() -> dict[str, tuple[str, str]]:
    of_extras = TESTED_FOR_TRAINING | TESTED_FOR_EXPORT | TESTED_FOR_TIMM | TESTED_FOR_DOCS
    return TESTED | of_extras | TESTED_BY_CUDA["cuda12"] | TESTED_BY_CUDA["cuda13"]


def _release(version: str) -> tuple[int, ...]:
    found = re.match(r"\d+(\.\d+)*", version)
    if found is None:
        raise ValueError(f"expected a version such as 2.6.0, found {version!r}; reinstall the package.")
    return tuple(int(part) for part in found.group().split("."))


def installed_versions() -> dict[str, str | None]:
    """Version of this project, of what using and training need, and of both DALIs; None where it is not installed."""
    return {name: _installed_version(name) for name in ("reskd", *TESTED, *TESTED_FOR_TRAINING, *DALIS)}


def installed_opencvs() -> list[str]:
    """Which of ``OPENCVS`` are installed."""
    return [name for name in OPENCVS if _installed_version(name)]


def require_for_training() -> None:
    """Check for the extra "train" before a training starts, as its last steps are what needs some of it.

    Raises:
        ValueError: a package of it is not installed.
    """
    missing = [name for name in TESTED_FOR_TRAINING if not _has_package(name)]
    if missing:
        raise ValueError(f"expected {', '.join(missing)}, found none; make install, or pip install 'reskd[train]'.")


def extra_with(package: str) -> str | None:
    """The extra of this project that has the package, of its optional ones."""
    tables = {"train": TESTED_FOR_TRAINING, "export": TESTED_FOR_EXPORT, "timm": TESTED_FOR_TIMM}
    extras = {name: extra for extra, table in tables.items() for name in table} | {"ray": "ray", "fsspec": "remote"}
    return extras.get(package)


def _installed_version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def driver_version() -> str | None:
    """Version of the NVIDIA kernel driver, or None without one."""
    try:
        text = Path("/proc/driver/nvidia/version").read_text()
    except OSError:
        return _output_of("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "--id=0")
    found = re.search(r"Kernel Module.*?\s(\d+\.\d+(\.\d+)?)\s", text)
    return found.group(1) if found else None


def missing_npp() -> list[str]:
    """The libraries of NVIDIA's NPP that DALI's operators name and that cannot be loaded; empty without a DALI."""
    spec = importlib.util.find_spec("nvidia.dali") if _has_package("nvidia") else None
    if spec is None or spec.origin is None:
        return []
    operators = Path(spec.origin).with_name("libdali_operators.so")
    if not operators.is_file():
        return []
    names = set(re.findall(rb"libnpp[a-z]+\.so\.\d+", operators.read_bytes()))
    return sorted(name.decode() for name in names if not _loads(name.decode()))


def _has_package(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        # A wheel puts it beside the others, where the loader of programs does not look.
        packages = Path(sysconfig.get_path("purelib")) / "nvidia"
        return any(packages.glob(f"*/lib/{library}"))
    return True


def describe_environment() -> dict[str, object]:
    """Software, hardware and commit, saved with every run. No paths and no host name."""
    return {
        "python": platform.python_version(),
        "os": _os_name(),
        "kernel": platform.release(),
        "cpu": _cpu_name(),
        "num_cpu_cores": len(os.sched_getaffinity(0)),
        "versions": installed_versions(),
        "gpu": _describe_gpus(),
        "commit": _describe_commit(Path(__file__).resolve().parents[1]),
    }


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


def _cpu_name() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found.group(1) if found else platform.machine()


def _describe_gpus() -> dict[str, object]:
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return {
        "names": [torch.cuda.get_device_name(index) for index in range(count)],
        "driver": driver_version(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }


def _describe_commit(root: Path) -> dict[str, object] | None:
    """Commit of the checkout whose top folder is ``root``; None elsewhere, also inside another project's checkout."""
    top = _output_of("git", "-C", str(root), "rev-parse", "--show-toplevel")
    commit = _output_of("git", "-C", str(root), "rev-parse", "HEAD")
    if top is None or commit is None or Path(top).resolve() != root:
        return None
    changes = _output_of("git", "-C", str(root), "status", "--porcelain", "--untracked-files=no")
    return {"hash": commit, "dirty": changes != ""}


def _output_of(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def native_library_name(torch_version: str) -> str:
    """Module name of the compiled operators for this torch: ``2.15.0+cu130`` -> ``_native_torch2_15``."""
    major, minor = torch_version.split(".")[:2]
    return f"_native_torch{major}_{minor}"
