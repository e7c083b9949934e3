"""benchmarks/ops/bench_loss.py: rows are appended and drawn, bad arguments refused."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def bench_loss() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "bench_loss", Path(__file__).parents[3] / "benchmarks/ops/bench_loss.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_rows_are_appended_and_drawn(bench_loss: ModuleType, tmp_path: Path) -> None:
    rows, picture = tmp_path / "rows.csv", tmp_path / "rows.png"
    command = [
        "--frames",
        "2",
        "--channels",
        "8",
        "--sides",
        "2,3",
        "--rounds",
        "2",
        "--no-compile",
        "--device",
        "cpu",
        "--csv",
    ]
    bench_loss.main([*command, str(rows)])
    once = rows.read_text()
    bench_loss.main([*command, str(rows)])
    assert rows.read_text().startswith(once)
    bench_loss.main(["--csv", str(rows), "--picture", str(picture)])
    assert picture.stat().st_size > 1000


def test_sides_that_are_no_numbers_are_refused(bench_loss: ModuleType) -> None:
    with pytest.raises(ValueError, match="--sides: expected two numbers such as 4,7, found 'x'"):
        bench_loss.main(["--frames", "2", "--sides", "x"])
