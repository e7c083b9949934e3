"""The notebooks run, and what they store is what their cells give."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from tests.notebooks import NOTEBOOKS, executed, hash_of_sources, kinds_of_outputs

MOST_BYTES = 200_000


def test_there_are_notebooks_and_each_is_small() -> None:
    assert {path.stem for path in NOTEBOOKS} >= {"first_student", "own_loader", "reading_a_run"}
    assert {path.name: path.stat().st_size for path in NOTEBOOKS if path.stat().st_size > MOST_BYTES} == {}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_begins_with_its_title_and_the_point(path: Path) -> None:
    first, *others = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert first["cell_type"] == "markdown" and first["source"][0].startswith("# ") and len(first["source"]) > 2
    assert all(len("".join(cell["source"]).splitlines()) <= 40 for cell in others)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_its_stored_outputs_are_of_its_cells(path: Path, tmp_path: Path) -> None:
    for package in ("nbclient", "ipykernel"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: it comes with the extra dev")
    import nbformat

    stored = nbformat.read(path, as_version=4)
    assert stored.metadata.get("sources_sha256") == hash_of_sources(stored), "run make notebooks"
    assert kinds_of_outputs(stored) == kinds_of_outputs(executed(path, tmp_path))
