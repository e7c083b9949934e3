from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from reskd.gpu_checks import runner
from reskd.gpu_checks.parts import PARTS, Part, Site
from reskd.gpu_checks.runner import run_isolated, run_parts

ANSWER = "import pathlib, sys; pathlib.Path(sys.argv[1]).write_text({text!r})"


def run(program: str, folder: Path, *, limit_s: float = 30) -> dict[str, Any]:
    command = [sys.executable, "-c", program, str(folder / "part.answer.json")]
    return run_isolated(command, Part("Why?", limit_s, lambda site: {}), folder / "part.log")


@pytest.mark.parametrize(
    ("program", "status"),
    [
        ("import os; os.kill(os.getpid(), 9)", f"crashed: signal {signal.Signals.SIGKILL.name}"),
        ("raise SystemExit(3)", "failed: exit code 3"),
        ("pass", "failed: no answer"),
        (ANSWER.format(text="{"), "failed: no answer"),
        (ANSWER.format(text="[]"), "failed: no answer"),
        (ANSWER.format(text='{"found": 1}'), "ok"),
        (ANSWER.format(text='{"skipped": "no encoder"}'), "skipped: no encoder"),
        (ANSWER.format(text='{"problem": "wrong"}'), "failed: wrong"),
    ],
)
def test_whatever_becomes_of_a_part_is_an_answer(program: str, status: str, tmp_path: Path) -> None:
    assert run(program, tmp_path)["status"] == status


def test_a_part_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    sign = tmp_path / "still_there"
    later = f"import time, pathlib; time.sleep(4); pathlib.Path({str(sign)!r}).touch()"
    program = (
        f"import subprocess, sys, time; print('begun', flush=True); subprocess.Popen([sys.executable, '-c', {later!r}])"
    )
    found = run(f"{program}; time.sleep(60)", tmp_path, limit_s=2)
    assert found["status"] == "timed out: after 2 s" and found["log"] == ["begun"]
    time.sleep(3)
    assert not sign.exists()


def test_an_earlier_answer_is_not_taken_for_a_new_one(tmp_path: Path) -> None:
    (tmp_path / "part.answer.json").write_text('{"found": 1}')
    assert run("pass", tmp_path)["status"] == "failed: no answer"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Three parts, whose processes are short programs."""
    programs = {
        "good": '{"found": 1}',
        "bad": '{"problem": "wrong"}',
        "facts": '{"skipped": "why not"}',
        "files": '{"found": 2}',
    }

    def command(site: Site, name: str) -> list[str]:
        (site.folder / f"{name}.runs").open("a").write(".")
        return [sys.executable, "-c", ANSWER.format(text=programs[name]), str(site.folder / f"{name}.answer.json")]

    monkeypatch.setattr(runner, "part_command", command)
    monkeypatch.setattr(runner, "PARTS", {name: Part("Why?", 30, lambda site: {}) for name in programs})
    return Site(tmp_path / "out", "cpu")


def runs_of(site: Site) -> dict[str, int]:
    return {path.stem: len(path.read_text()) for path in site.folder.glob("*.runs")}


def test_parts_go_on_where_they_were_left(site: Site) -> None:
    told: list[str] = []
    run_parts(site, ["good"], on_answer=lambda name, answer: told.append(name))
    assert list(json.loads((site.folder / "gpu_check.json").read_text())["parts"]) == ["good"]
    answers = run_parts(site, ["good", "bad", "facts"], on_answer=lambda name, answer: told.append(name))
    assert {name: answer["status"] for name, answer in answers.items()} == {
        "good": "ok",
        "bad": "failed: wrong",
        "facts": "skipped: why not",
    }
    run_parts(site, ["good", "bad", "facts"], on_answer=lambda name, answer: None)
    assert runs_of(site) == {"good": 1, "bad": 2, "facts": 1}
    run_parts(site, ["good"], again=True, on_answer=lambda name, answer: None)
    assert runs_of(site)["good"] == 2
    assert told == ["good", "good", "bad", "facts"]
    text = (site.folder / "gpu_check.md").read_text()
    assert "| bad | Why? | failed: wrong |" in text and "## facts" in text


def test_other_videos_are_another_question(site: Site, tmp_path: Path) -> None:
    for videos in (None, None, tmp_path, tmp_path, None):
        run_parts(Site(site.folder, site.device, videos), ["files"], on_answer=lambda name, answer: None)
    assert runs_of(site)["files"] == 3


def test_answers_of_another_machine_are_not_taken(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    run_parts(site, ["good"], on_answer=lambda name, answer: None)
    monkeypatch.setattr(runner, "describe_machine", lambda site: "another GPU")
    answers = run_parts(site, ["bad"], on_answer=lambda name, answer: None)
    assert list(answers) == ["bad"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"parts": 1}', '{"parts": {"good": {}}}'])
def test_a_damaged_file_of_answers_is_made_anew(text: str, site: Site) -> None:
    site.folder.mkdir()
    (site.folder / "gpu_check.json").write_text(text)
    assert run_parts(site, ["good"], on_answer=lambda name, answer: None)["good"]["status"] == "ok"


def test_without_a_gpu_the_other_parts_say_so(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner.torch.cuda, "is_available", lambda: False)
    answers = run_parts(Site(site.folder, "cuda"), ["facts", "good"], on_answer=lambda name, answer: None)
    assert answers["facts"]["status"] == "skipped: why not"
    assert answers["good"]["status"] == "skipped: no CUDA device"


def test_all_parts_have_a_question_and_end_in_time() -> None:
    assert all(part.question.endswith("?") for part in PARTS.values())
    assert sum(part.limit_s for part in PARTS.values()) < 30 * 60
