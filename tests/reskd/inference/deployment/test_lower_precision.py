"""fp16 and int8 beside student.onnx: compared on the same labeled videos before they are kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from reskd.cli import run_tool
from reskd.commands import export
from reskd.inference.deployment import comparison, lower_precision
from reskd.inference.deployment.quantization import open_session
from tests.conftest import numbered_clip, picture
from tests.tiny_student import CLASSES, write_checkpoint

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason="needs the extra [export]")

NUM_VIDEOS = 6


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("run") / "last.pt")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with videos, the labeled list check.csv, and ranges.txt."""
    folder = tmp_path_factory.mktemp("videos")
    for number in range(NUM_VIDEOS):
        numbered_clip(folder / f"{number}.mp4", "libx264", 6, tint=15 * number)
    rows = [f"{number}.mp4,{CLASSES[number % 3]}\n" for number in range(NUM_VIDEOS)]
    (folder / "check.csv").write_text("path,label\n" + "".join(rows))
    (folder / "ranges.txt").write_text("0.mp4\n1.mp4\n")
    return folder


def arguments(checkpoint: Path, out: Path, videos: Path, *precisions: str) -> list[str]:
    given = [str(checkpoint), "--out", str(out), "--format", "onnx", "--precision", *precisions]
    given += ["--check", str(videos / "check.csv")]
    return [*given, "--calibration", str(videos / "ranges.txt")] if "int8" in precisions else given


@pytest.mark.slow
def test_versions_are_written_compared_and_kept(
    checkpoint: Path, videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "MOST_LOSS", 100.0)
    assert run_tool(export.main, arguments(checkpoint, tmp_path, videos, "fp16", "int8")) == 0
    out, err = capsys.readouterr()
    assert "| fp16 |" in out and "| int8 |" in out and f"% of {NUM_VIDEOS} |" in out
    assert "--check has 6 videos, so one is 16.7 points" in err
    assert "2 videos are in both --calibration and --check" in err
    table = json.loads((tmp_path / "precisions.json").read_text())
    assert [one["version"] for one in table["versions"]] == ["fp32", "fp16", "int8"]
    assert table["versions"][0]["difference"] == 0 and all(one["median_ms"] > 0 for one in table["versions"])
    names = ("student.onnx", *lower_precision.PRECISION_NAMES.values())
    sizes = {name: (tmp_path / name).stat().st_size for name in names}
    assert sizes["student_fp16.onnx"] < 0.6 * sizes["student.onnx"]
    assert sizes["student_int8.onnx"] < 0.35 * sizes["student.onnx"]
    assert not list(tmp_path.glob("unchecked*")) and not list(tmp_path.glob("quantize*"))
    listed = (tmp_path / "SHA256SUMS").read_text()
    assert all(name in listed for name in (*sizes, "precisions.json", "config.json"))
    check_answers(tmp_path)
    # The next export removes them, as they are of another student.
    assert run_tool(export.main, [str(checkpoint), "--out", str(tmp_path), "--format", "safetensors"]) == 0
    assert not list(tmp_path.glob("student_*.onnx")) and not list(tmp_path.glob("precisions*"))


def check_answers(folder: Path) -> None:
    """The files take the input of student.onnx, hold its config, and answer about as it does."""
    import onnx

    frames = np.stack([[cv2.resize(picture(k, tint=15 * n), (40, 40)) for k in (1, 4)] for n in range(3)])
    logits = {}
    for name in ("student.onnx", "student_fp16.onnx", "student_int8.onnx"):
        session, names = open_session(folder / name, num_threads=1)
        assert names == ["frames"]
        logits[name] = session({"frames": frames})
        assert logits[name].dtype == np.float32 and logits[name].shape == (3, 3)
        kept = {entry.key: entry.value for entry in onnx.load(folder / name).metadata_props}
        assert json.loads(kept["reskd"])["class_names"] == list(CLASSES)
    scale = np.abs(logits["student.onnx"]).max()
    assert np.abs(logits["student_fp16.onnx"] - logits["student.onnx"]).max() < 0.02 * scale
    assert np.abs(logits["student_int8.onnx"] - logits["student.onnx"]).max() < 0.5 * scale
    operators = {node.op_type for node in onnx.load(folder / "student_int8.onnx").graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= operators


@pytest.mark.slow
def test_a_version_that_loses_more_than_a_point_is_one_sentence_and_no_file(
    checkpoint: Path, videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = comparison.Comparison._answer

    def spoiled(self: Any, name: str, clips: Any) -> int:
        best = answer(self, "fp32", clips)
        label = next(iter(self.labels[-1]))
        return label if name == "fp32" else (label + 1) % 3 if best is not None and name == "fp16" else best

    monkeypatch.setattr(comparison.Comparison, "_answer", spoiled)
    assert run_tool(export.main, arguments(checkpoint, tmp_path, videos, "fp16")) == 1
    out, err = capsys.readouterr()
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert "onnx fp16: expected at most 1 point of top-1 below fp32" in line and "found 100.0 below" in line
    assert "6 videos" in line and "| fp16 |" in out and "done" not in out
    assert (tmp_path / "precisions.md").is_file() and not list(tmp_path.glob("*fp16*"))
    assert (tmp_path / "student.onnx").is_file()


def test_options_that_do_not_fit_are_one_sentence_each(
    checkpoint: Path, videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "out"), "--format", "onnx"]
    check, ranges = ["--check", str(videos / "check.csv")], ["--calibration", str(videos / "ranges.txt")]
    cases = {
        "--calibration is for --precision int8": [*out, "--precision", "fp16", *check, *ranges],
        "--check is for --precision fp16 or int8": [*out, *check],
        "expected onnx among --format": [*out[:2], "--format", "safetensors", "--precision", "fp16", *check],
    }
    for said, given in cases.items():
        assert run_tool(export.main, [str(checkpoint), *given]) == 1
        (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert said in line
    assert not (tmp_path / "out").exists()


def cells(both: int, fp32: int, other: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    right_fp32 = np.repeat([True, True, False, False], [both, fp32, other, neither])
    return np.repeat([True, False, True, False], [both, fp32, other, neither]), right_fp32


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((90, 4, 2, 4), (-2.0, -7.1, 3.2)),  # -2/102 of the enlarged table; its interval by hand
        ((90, 0, 0, 10), (0.0, -1.92, 1.92)),
        ((0, 0, 50, 50), (50.0, 39.1, 58.9)),
    ],
)
def test_the_interval_of_a_paired_difference(counts: tuple[int, ...], expected: tuple[float, ...]) -> None:
    found = comparison.paired_difference(*cells(*counts))
    assert found == pytest.approx(expected, abs=0.15)
    assert found.low <= found.points <= found.high


def test_the_interval_covers_as_it_says() -> None:
    """Of 2000 lists of 100 videos whose versions differ by 2 points in truth, about 95 % have it in their interval."""
    generator = np.random.default_rng(0)
    draws = generator.multinomial(100, [0.85, 0.05, 0.03, 0.07], size=2000)
    found = [comparison.paired_difference(*cells(*counts)) for counts in draws.tolist()]
    assert 0.93 <= np.mean([one.low <= -2.0 <= one.high for one in found]) <= 0.985


def test_the_first_frames_are_spread_over_a_sorted_list() -> None:
    from reskd.inference.deployment.listed_clips import spread

    assert spread([str(number) for number in range(10)], 4) == ["0", "2", "5", "7"]
    assert spread(["a", "b"], 4) == ["a", "b"]
