"""A student exported as a repository for Triton."""

from __future__ import annotations

from pathlib import Path

import pytest

from reskd.cli import run_tool
from reskd.commands import export
from tests.tiny_student import SHRUNK_VIEWS, write_checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("run") / "last.pt", data=SHRUNK_VIEWS)


@pytest.fixture(scope="module")
def exported(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    assert run_tool(export.main, [str(checkpoint), "--out", str(folder), "--format", "triton"]) == 0
    return folder
