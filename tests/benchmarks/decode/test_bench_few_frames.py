"""benchmarks/decode/bench_few_frames.py: rows of both ways for each k; bad arguments refused in a sentence."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.decode import bench_few_frames
from reskd.cli import run_tool


def test_a_row_for_each_k_and_way_says_how_many_frames_were_decoded(
    make_folder: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, rows = make_folder({"h264": ["libx264"], "mjpeg": ["mjpeg"]}, num_frames=24), tmp_path / "rows.csv"
    arguments = [str(root), "--frames", "4", "--k", "1", "4", "--rounds", "1", "--csv", str(rows)]
    assert run_tool(bench_few_frames.main, [*arguments, "--scan-cache", str(tmp_path)]) == 0
    with rows.open(newline="") as file:
        found = {(int(row["k"]), row["decoded"]): row for row in csv.DictReader(file)}
    assert list(found) == [(1, "clip"), (1, "student"), (4, "clip"), (4, "student")]
    decoded = {case: float(row["frames_decoded"]) for case, row in found.items()}
    assert decoded[1, "clip"] == decoded[4, "clip"] == decoded[4, "student"] > 2 * decoded[1, "student"]
    assert float(found[4, "clip"]["amplification"]) == pytest.approx(decoded[4, "clip"] / 4)
    assert {row["num_clips"] for row in found.values()} == {"2"}
    assert "rows appended" in capsys.readouterr().out


def test_more_frames_than_the_clip_has_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_tool(bench_few_frames.main, [str(tmp_path), "--frames", "4", "--k", "8"]) == 1
    assert "--k: expected at most --frames = 4, found 8" in capsys.readouterr().err


def test_no_frame_at_all_is_refused_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run_tool(bench_few_frames.main, [str(tmp_path), "--k", "0"])
    assert "--k: expected a whole number of 1 or more, found '0'" in capsys.readouterr().err
