"""Damaged files of every container and codec: never a crash, a hang, a wrong frame or a refusal without a reason.

The damaging runs in processes of its own (``tests.dali_pipes.damage``), since a decoder may crash or hang.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.dali_pipes.streams import RECIPES, can_make, make, make_audio

ROOT = Path(__file__).resolve().parents[3]
SEED = 20261121
NUM_FILES = 600


@pytest.fixture(scope="module")
def good_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    for name, recipe in RECIPES.items():
        if can_make(recipe):
            make(recipe, folder, name.replace(" ", "_"))
    make_audio(folder / "audio.mp4")
    return folder


def damage(good_files: Path, seed: int, num_files: int) -> list[dict[str, Any]]:
    """What each damaged file gave; one that ends the process is a result too, and the next ones go on."""
    results: list[dict[str, Any]] = []
    while len(results) < num_files:
        numbers = [str(good_files), str(seed), str(len(results)), str(num_files)]
        run = subprocess.run(
            [sys.executable, "-m", "tests.dali_pipes.damage", *numbers], cwd=ROOT, capture_output=True, text=True
        )
        results += [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]
        if run.returncode:
            last = run.stderr.strip().splitlines()[-1:]
            results.append({"number": len(results), "wrong": f"the process ended with {run.returncode}: {last}"})
    return results


@pytest.mark.slow
def test_damaged_files_give_exact_frames_or_a_reason(good_files: Path) -> None:
    results = damage(good_files, SEED, NUM_FILES)
    assert [result for result in results if result["wrong"]] == []
    outcomes = Counter(str(result["health"]).partition(":")[0] for result in results)
    decoders = Counter(way for result in results for way in result.get("how", ()))
    assert min(outcomes[health] for health in ("ok", "cut", "bad")) > NUM_FILES // 50  # the damage is of all kinds
    assert decoders[1] > NUM_FILES, decoders  # and sparse decode took part


def test_a_few_damaged_files_give_exact_frames_or_a_reason(good_files: Path) -> None:
    results = damage(good_files, SEED + 1, 20)
    assert len(results) == 20 and [result for result in results if result["wrong"]] == []


def test_a_process_that_dies_is_a_result(tmp_path: Path) -> None:
    assert "ended with" in damage(tmp_path, 0, 1)[0]["wrong"]  # no good file to choose from
