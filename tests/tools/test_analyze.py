"""tools/analyze.py: the table, and a sentence for what does not fit."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from reskd.analysis.flops import MacCount
from reskd.cli import run_tool


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("analyze", Path(__file__).parents[2] / "tools/analyze.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


analyze = _load()
FLOPS = ["flops", "--backbone", "resnet18", "--frames", "2"]


def test_table_has_every_part_and_the_total() -> None:
    table = analyze.macs_table(MacCount(4_000_000_000, {"backbone": 3_000_000_000, "head": 1_000_000_000}, 500_000_000))
    rows = {tuple(line.split()) for line in table.splitlines()}
    assert {("backbone", "3.000", "75.0%"), ("head", "1.000", "25.0%"), ("total", "4.000", "100.0%")} <= rows
    assert ("with", "elementwise", "4.500") in rows


def test_size_may_be_height_and_width(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_tool(analyze.main, [*FLOPS, "--size", "64", "96", "--views", "3"]) == 0
    assert "resnet18, 2 frames of 64 x 96, 3 view(s) a video" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "1", "2", "3"], "--size: expected one side, or height and width, found 3 numbers"),
        (["--size", "16"], "expected 32 x 32 pixels or more, found 16 x 16"),
        (["--stage-strides", "2", "2", "2", "2"], "error: stage_strides: expected 1 for the first stage of resnet18"),
    ],
)
def test_what_does_not_fit_is_one_sentence(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_tool(analyze.main, [*FLOPS, *arguments]) == 1
    assert message in capsys.readouterr().err
