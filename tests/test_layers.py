"""The layer list of docs/architecture.md, proved on every import statement of the packages and tools."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Lowest first. A module may import from its own unit and from the lines above its own.
LAYERS: list[tuple[str, ...]] = [
    ("dali_pipes",),
    ("reskd.ops", "reskd.outputs", "reskd.distributed", "reskd.environment", "reskd.atomic_files"),
    ("reskd.models", "reskd.losses"),
    ("reskd.training",),
    ("reskd.evaluation", "reskd.analysis", "reskd.inference.export"),
    ("reskd.experiment.config",),
    ("reskd.experiment.teacher_checks",),
    ("reskd.experiment.networks",),
    ("reskd.experiment.provenance",),
    ("reskd.experiment.build", "reskd.cli", "reskd.inference.student"),
    ("reskd.cli",),
    ("reskd.experiment.run", "reskd.predict", "reskd.extraction"),
    ("reskd.experiment.stages", "reskd.study"),
    ("tools",),
]
# Models and losses know each other's results, not each other, and nothing of the pipeline but the base of its configs.
SHARED_BY_MODELS_AND_LOSSES = ("reskd.outputs", "reskd.ops", "dali_pipes.config")
WORKER_MODULES = (
    "manifest",
    "sampling",
    "host_decode",
    "source",
    "scan",
    "shards",
    "frame_folders",
    "transcode",
    "timed_frames",
)
OPTIONAL_PACKAGES = ("apex", "nvidia", "triton")


def _files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def _module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(path: Path) -> Iterator[str]:
    """Every imported module, wherever the statement stands; ``from a import b`` gives ``a.b`` if that is a module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.relative_to(ROOT)}:{node.lineno}: write the absolute name of the module"
            assert node.module is not None
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if _is_module(inner) else node.module


def _is_module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").is_file()


def _within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


def _place(module: str) -> tuple[int, str]:
    """Layer and unit of a module of this project."""
    for layer, units in enumerate(LAYERS):
        for unit in units:
            if _within(module, (unit,)):
                return layer, unit
    raise AssertionError(f"{module} has no layer: give it one in tests/test_layers.py and in docs/architecture.md")


def _statements() -> list[tuple[str, str]]:
    """(importing module, imported module) for all of the project's own modules."""
    return [
        (_module_name(path), imported)
        for folder in ("dali_pipes", "reskd", "tools")
        for path in _files(folder)
        for imported in _imports(path)
    ]


def test_every_module_has_a_layer() -> None:
    names = [_module_name(path) for folder in ("dali_pipes", "reskd", "tools") for path in _files(folder)]
    assert len(names) > 20
    for name in names:
        if name != "reskd":
            _place(name)


def test_imports_go_down_only() -> None:
    wrong = []
    for importer, imported in _statements():
        if importer == "reskd" or not _within(imported, ("dali_pipes", "reskd", "tools")) or imported == "reskd":
            continue
        (own_layer, own_unit), (layer, unit) = _place(importer), _place(imported)
        if layer > own_layer or (layer == own_layer and unit != own_unit):
            wrong.append(f"{importer} imports {imported}")
    assert not wrong


def test_models_and_losses_share_only_their_results() -> None:
    siblings = ("reskd.models", "reskd.losses")
    wrong = [
        f"{importer} imports {imported}"
        for importer, imported in _statements()
        if _within(importer, siblings)
        and _within(imported, ("dali_pipes", "reskd"))
        and not _within(imported, (_place(importer)[1], *SHARED_BY_MODELS_AND_LOSSES))
    ]
    assert not wrong


def test_nothing_imports_a_tool() -> None:
    tools = tuple(path.stem for path in _files("tools"))
    wrong = [f"{importer} imports {name}" for importer, name in _statements() if _within(name, ("tools", *tools))]
    assert not wrong


def test_only_the_pipeline_and_the_tools_know_dali() -> None:
    wrong = [
        importer for importer, name in _statements() if _within(name, ("nvidia",)) and _within(importer, ("reskd",))
    ]
    assert not wrong


def test_packages_import_no_optional_package_when_they_are_imported() -> None:
    inits = [path for folder in ("dali_pipes", "reskd") for path in _files(folder) if path.name == "__init__.py"]
    assert len(inits) >= 8
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in inits
        for name in _imports(path)
        if _within(name, OPTIONAL_PACKAGES)
    ]
    assert not wrong


def _loaded_by(module: str, packages: tuple[str, ...]) -> str:
    """Which of ``packages`` are loaded once ``module`` has been imported in a fresh interpreter."""
    program = f"import sys, {module}; print(*[name for name in {packages!r} if name in sys.modules])"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("module", WORKER_MODULES)
def test_what_a_loader_worker_imports_needs_neither_torch_nor_dali(module: str) -> None:
    assert _loaded_by(f"dali_pipes.{module}", ("torch", "nvidia.dali")) == ""


@pytest.mark.parametrize("module", ["batch", "config"])
def test_contracts_import_without_dali(module: str) -> None:
    assert _loaded_by(f"dali_pipes.{module}", ("nvidia.dali",)) == ""


def test_all_of_reskd_but_the_wiring_imports_without_an_optional_package() -> None:
    wiring = ("reskd.experiment.build", "reskd.experiment.run")
    names = [name for name in map(_module_name, _files("reskd")) if name not in wiring]
    assert _loaded_by(", ".join(names), ("apex", "nvidia.dali")) == ""
