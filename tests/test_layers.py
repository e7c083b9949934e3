"""Imports go down only: docs/layers.txt against every import statement, and what stays light when it is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.layers import DOCUMENTS, layer_of_folder, with_layers
from tests.structure import ROOT, folder_graph, imports_of, module_name, source_files

WORKER_MODULES = (
    "manifest.manifest",
    "sampling.clip_plan",
    "decode.pyav",
    "loader.external_source",
    "loader.whole_video",
    "scan.scan",
    "storage.shards",
    "storage.frame_folders",
    "transcode.job",
)
# Models and losses know each other's results, not each other, and nothing of the pipeline but the base of its configs.
SHARED_BY_MODELS_AND_LOSSES = (
    "reskd.outputs",
    "reskd.choices",
    "reskd.ops",
    "dali_pipes.config",
    "dali_pipes.atomic_files",
    "reskd.extensions",
)
OPTIONAL_PACKAGES = ("apex", "nvidia", "triton")
HEAVY_PACKAGES = ("torch", "numpy", "av", "cv2", "pydantic", "torchvision", "matplotlib", "torchmetrics", "nvidia")


def _within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


def _statements(*packages: str) -> list[tuple[str, str]]:
    """(importing module, imported module) of all import statements."""
    return [(module_name(path), imported) for path in source_files(*packages) for imported in imports_of(path)]


def test_every_folder_has_a_layer_and_every_layer_a_folder() -> None:
    with_code = {path.parent.as_posix() for path in source_files() if path.name != "__init__.py"}
    assert with_code == set(layer_of_folder())


def test_imports_between_folders_go_down_only() -> None:
    layers = layer_of_folder()
    wrong = [
        f"{importer} imports {imported}"
        for importer, folders in folder_graph().items()
        for imported in folders
        if importer in layers and layers[imported] >= layers[importer]
    ]
    assert not wrong


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documents_show_the_layers_as_they_are(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    assert "<!-- layers.txt -->" in text
    assert text == with_layers(text), "run python -m tests.layers"


def test_models_and_losses_share_only_their_results() -> None:
    siblings = ("reskd.models", "reskd.losses")
    wrong = [
        f"{importer} imports {imported}"
        for importer, imported in _statements("reskd")
        for own in siblings
        if _within(importer, (own,))
        and _within(imported, ("dali_pipes", "reskd"))
        and not _within(imported, (own, *SHARED_BY_MODELS_AND_LOSSES))
    ]
    assert not wrong


def test_nothing_imports_a_command() -> None:
    commands = ("tools", "reskd.commands")
    found = [(importer, name) for importer, name in _statements() if _within(name, commands)]
    assert not [f"{importer} imports {name}" for importer, name in found if not _within(importer, commands)]


def test_the_product_does_not_import_its_benchmarks_or_tests() -> None:
    statements = _statements("dali_pipes", "reskd", "tools")
    wrong = [f"{importer} imports {name}" for importer, name in statements if _within(name, ("benchmarks", "tests"))]
    assert not wrong


def test_only_the_pipeline_and_the_tools_know_dali() -> None:
    wrong = [importer for importer, name in _statements("reskd") if _within(name, ("nvidia",))]
    assert not [importer for importer in wrong if importer != "reskd.profiling.decode.dali_readers"]


def _loaded_by(modules: str, packages: tuple[str, ...]) -> str:
    """Which of ``packages`` are loaded once ``modules`` have been imported in a fresh interpreter."""
    program = f"import sys, {modules}; print(*[name for name in {packages!r} if name in sys.modules])"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_a_folder_imports_nothing_heavy() -> None:
    folders = [module_name(path) for path in source_files() if path.name == "__init__.py"]
    assert len(folders) > 30
    assert _loaded_by(", ".join(folders), HEAVY_PACKAGES) == ""


@pytest.mark.parametrize("module", WORKER_MODULES)
def test_what_a_loader_worker_imports_needs_neither_torch_nor_dali(module: str) -> None:
    assert _loaded_by(f"dali_pipes.{module}", ("torch", "nvidia.dali", "pydantic")) == ""


@pytest.mark.parametrize("module", ["batch", "config"])
def test_contracts_import_without_dali(module: str) -> None:
    assert _loaded_by(f"dali_pipes.{module}", ("nvidia.dali",)) == ""


def test_all_of_reskd_but_the_wiring_imports_without_an_optional_package() -> None:
    wiring = ("reskd.experiment.build", "reskd.experiment.run", "reskd.inference.clients.triton_client")  # a program
    names = [name for name in map(module_name, source_files("reskd")) if name not in wiring]
    assert _loaded_by(", ".join(names), ("apex", "nvidia.dali")) == ""
