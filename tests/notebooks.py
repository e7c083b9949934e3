"""Runs the notebooks, and stores what they print and draw.

    python -m tests.notebooks            # run all and write their outputs again (make notebooks)
    python -m tests.notebooks own_loader # only these

Outputs are stored, so that a reader on a code host and on the site sees them. They depend on the machine, so the test
asks only that running a notebook gives outputs of the same kinds, and that the outputs came from these cells.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MOST_SECONDS = 600  # of a cell, on a busy machine
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


def executed(path: Path, folder: Path) -> Any:
    """The notebook as a nbformat node with new outputs, run beside a copy of the notebooks' Python files in ``folder``.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell fails.
    """
    import nbformat
    from nbclient import NotebookClient

    for helper in FOLDER.glob("*.py"):
        shutil.copy(helper, folder)
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=MOST_SECONDS, resources={"metadata": {"path": str(folder)}})
    packages = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    client.execute(env={**os.environ, "PYTHONPATH": packages})
    for cell in notebook.cells:
        if cell.cell_type == "code":
            _keep_what_readers_need(cell)
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "sources_sha256": hash_of_sources(notebook),
    }
    return notebook


def _keep_what_readers_need(cell: Any) -> None:
    cell.execution_count = None
    cell.metadata = {}
    cell.outputs = [one for one in cell.outputs if one.get("name") != "stderr"]
    for output in cell.outputs:
        output.pop("execution_count", None)
        output.get("metadata", {}).clear()
        if output.output_type == "execute_result":
            output.execution_count = None
        if "text" in output:
            output.text = _ANSI.sub("", output.text).replace("\r\n", "\n")
        if "image/png" in output.get("data", {}):
            output.data = {"image/png": output.data["image/png"]}


def hash_of_sources(notebook: Any) -> str:
    """Of the code cells: what the outputs depend on."""
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256("\n\n".join(sources).encode()).hexdigest()


def kinds_of_outputs(notebook: Any) -> list[list[str]]:
    """For each code cell, the kinds of its outputs; several prints count as one."""
    return [
        list(dict.fromkeys(str(next(iter(one.get("data", {"text/plain": ""})))) for one in cell.outputs))
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


if __name__ == "__main__":
    import nbformat

    for path in [FOLDER / f"{name}.ipynb" for name in sys.argv[1:]] or NOTEBOOKS:
        with tempfile.TemporaryDirectory() as folder:
            nbformat.write(executed(path, Path(folder)), path)
        print(path.relative_to(ROOT))
