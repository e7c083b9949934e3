"""docs/monitoring.md lists every curve of TensorBoard, and no other: compared with the code and with runs."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from reskd.evaluation.metrics import metrics_of
from reskd.losses.config import LossConfig
from reskd.rank_map import slowest
from reskd.training.board.layout import LAYOUT, layout_of
from reskd.training.metrics_log import parse_line
from tests.reskd.training.tiny import make_trainer

ROOT = Path(__file__).parents[4]
GROUPS = (
    "loss",
    "loss_share",
    "train",
    "val",
    "val_teacher",
    "grad_norm",
    "grad_cosine",
    "feature_map",
    "data",
    "speed",
)
CURVE = re.compile(rf"({'|'.join(GROUPS)})/[A-Za-z0-9_*]+")


def documented() -> list[str]:
    """The curves of the table, with TERM and NAME as in it."""
    text = (ROOT / "docs/monitoring.md").read_text(encoding="utf-8").partition("### The curves")[2]
    rows = [line for line in text.partition("**An empty or missing chart**")[0].splitlines() if line.startswith("| `")]
    assert all(row.count("|") == 5 for row in rows), "curve, unit, meaning, written"
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])]


def in_code() -> set[str]:
    """The names of curves in string literals of the code; what a literal fills in is *."""
    found = set()
    for folder in ("training", "runtime", "losses", "evaluation", "profiling", "experiment"):
        for path in sorted((ROOT / "reskd" / folder).rglob("*.py")):
            found |= {*_literals(ast.parse(path.read_text(encoding="utf-8")))}
    found |= {*_literals(ast.parse((ROOT / "reskd/rank_map.py").read_text(encoding="utf-8")))}
    return {name for name in found if CURVE.fullmatch(name)}


def _literals(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "*" for part in node.values)


def pattern_of(name: str) -> str:
    return re.sub("TERM|NAME", "[A-Za-z0-9_]+", name)


def test_each_curve_in_the_code_is_in_the_table() -> None:
    rows = documented()
    assert len(rows) == len(set(rows)) > 40
    for name in in_code() - {f"{group}/" for group in GROUPS}:
        example = name.replace("*", "student" if name.startswith("speed/") else "task")
        assert any(re.fullmatch(pattern_of(row), example) for row in rows), name


def test_each_curve_in_the_table_is_in_the_code() -> None:
    """Those of validation are made of ``val`` or ``val_teacher`` and a metric's name: see the next test."""
    patterns = [re.escape(name).replace(r"\*", "[A-Za-z0-9_]+") for name in in_code()]
    for row in documented():
        if not row.startswith(("val/", "val_teacher/")):
            example = row.replace("TERM", "pixel")
            assert any(re.fullmatch(pattern, example) for pattern in patterns), row


@pytest.mark.parametrize("scores", ["softmax", "sigmoid"])
@pytest.mark.parametrize("several", [False, True])
def test_the_validation_curves_are_the_metrics(several: bool, scores: Any) -> None:
    labels_N = torch.tensor([0, 1, 1, 0])
    sets_NK = torch.nn.functional.one_hot(labels_N, 3).bool() if several else None  # a class without a video
    values = metrics_of(torch.randn(4, 3), labels_N, sets_NK, scores=scores)
    assert {f"val/{name}" for name in values} <= {*documented()}
    if scores == "softmax":
        assert ("log_loss" in values) == (not several)


SETTINGS: dict[str, dict[str, Any]] = {
    "alone": {"alpha": None},
    "distilled and diagnosed": {
        "loss": LossConfig.model_validate({"pixel": {"alpha": "auto"}, "embedding": {"alpha": 1}, "auto_steps": 1}),
        "diagnose_every_steps": 1,
    },
    "joint, fp16": {"joint": True, "precision": "fp16"},
}


class FixedValidation:
    def __call__(self, network: torch.nn.Module) -> dict[str, float]:
        return {"top1": 0.5, "log_loss": 1.0}

    def close(self) -> None:
        pass


@pytest.mark.parametrize("name", SETTINGS)
def test_each_curve_of_a_run_has_a_row(name: str, tmp_path: Path) -> None:
    names = ("student", "teacher") if "joint" in name else ("student",)
    trainer = make_trainer(tmp_path, **SETTINGS[name], validations=dict.fromkeys(names, FixedValidation()))
    trainer.fit()
    lines = [parse_line(line) for line in trainer.run.metrics.read_text(encoding="utf-8").splitlines()]
    written = {curve for line in lines if line for curve in line} - {"step"}
    assert {"loss/total", "train/top1", "val/log_loss", "speed/data_wait_share"} <= written
    assert ("val_teacher/top1" in written) == ("joint" in name) == ("train/loss_scale" in written)
    patterns = [pattern_of(row) for row in documented()]
    assert [curve for curve in written if not any(re.fullmatch(pattern, curve) for pattern in patterns)] == []


def test_log_loss_and_automatic_weights_have_charts_of_their_own() -> None:
    """TensorBoard takes a curve whose name begins as the expression says."""
    curves = ["loss/total", "loss/alpha_pixel", "val/top1", "val/log_loss", "val_teacher/log_loss", "val/map"]
    of = {
        title: [curve for curve in curves if any(re.match(pattern, curve) for pattern in patterns)]
        for charts in layout_of(curves).values()
        for title, (_, patterns) in charts.items()
    }
    assert of["log loss of the validation list"] == ["val/log_loss", "val_teacher/log_loss"]
    assert of["accuracy"] == ["val/top1", "val/map"]
    assert (of["loss"], of["automatic weights"]) == (["loss/total"], ["loss/alpha_pixel"])


def test_every_chart_has_a_documented_curve() -> None:
    examples = [re.sub("TERM|NAME", "pixel", row) for row in documented()]
    for charts in LAYOUT.values():
        for title, (_, patterns) in charts.items():
            assert any(re.fullmatch(pattern, curve) for pattern in patterns for curve in examples), title


def test_the_excess_of_the_slowest_rank_is_a_share() -> None:
    assert slowest([100.0, 100.0, 110.0]) == (2, pytest.approx(0.1))
