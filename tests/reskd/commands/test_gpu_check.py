"""gpu_check.py as a user calls it, on a machine without a GPU: its rehearsal, one part after another."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reskd.cli import run_tool
from reskd.commands import gpu_check
from reskd.gpu_checks import parts, runner


def test_without_a_gpu_every_part_has_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner.torch.cuda, "is_available", lambda: False)
    assert run_tool(gpu_check.main, [str(tmp_path)]) == 0
    answers = json.loads((tmp_path / "gpu_check.json").read_text())["parts"]
    assert list(answers) == list(parts.PARTS)
    assert answers.pop("facts")["environment"]["versions"]["torch"]
    assert {answer["status"] for answer in answers.values()} == {"skipped: no CUDA device"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["build", "loss", "decode", "step", "files", "frame_files"])
def test_parts_are_rehearsed_on_a_cpu(name: str, tmp_path: Path) -> None:
    assert run_tool(gpu_check.main, [str(tmp_path), "--device", "cpu", "--parts", name]) == 0
    answer = json.loads((tmp_path / "gpu_check.json").read_text())["parts"][name]
    assert answer["status"] == "ok"
    assert name == "build" or answer["table"]
    assert not (tmp_path / "scratch").exists()


@pytest.mark.slow
def test_tests_that_need_a_gpu_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "ROOT", tmp_path)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_some.py").write_text(
        "import pytest\n"
        "@pytest.mark.gpu\ndef test_skipped(): pytest.skip('needs a CUDA device')\n"
        "@pytest.mark.gpu\ndef test_passed(): pass\n"
        "def test_other(): assert False\n"
    )
    found = parts.PARTS["tests"].answer(parts.Site(tmp_path / "cpu", "cpu"))
    assert found["skipped"] == "1 of 2 tests need a CUDA device"
    assert parts.PARTS["tests"].answer(parts.Site(tmp_path / "gpu", "cuda"))["problem"] == "1 of 2 did not pass"
    (tmp_path / "tests" / "test_broken.py").write_text("import pytest\n@pytest.mark.gpu\ndef test_broken(: pass\n")
    found = parts.PARTS["tests"].answer(parts.Site(tmp_path / "broken", "cpu"))
    assert found["problem"] == "2 of 3 did not pass"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--videos", "nowhere"], "--videos: expected a folder with a folder of videos for each class, found nowhere"),
    ],
)
def test_what_is_not_there_is_a_sentence(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_tool(gpu_check.main, [str(tmp_path), *arguments]) == 1
    assert message in capsys.readouterr().err


def test_a_command_that_fails_is_the_problem_of_its_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    command = [str(tmp_path / "out"), "--device", "cpu", "--parts", "files", "--videos", str(videos)]
    assert run_tool(gpu_check.main, command) == 1
    assert "files: failed: reskd profile train configs/throughput.yaml ended with exit code 1" in (
        capsys.readouterr().out
    )
