"""Run parts one after another, each in a process of its own, and keep every answer as soon as it is there."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from dali_pipes.atomic_files import atomic_write_text
from dali_pipes.json_files import object_in
from dali_pipes.nvdec.driver import name_of_gpu
from reskd.gpu_checks.parts import PARTS, RESKD, ROOT, Part, Site
from reskd.gpu_checks.report import as_json, as_markdown

NO_DEVICE = "no CUDA device"
_LOG_LINES = 15


def run_parts(
    site: Site, names: Sequence[str], *, again: bool = False, on_answer: Callable[[str, dict[str, Any]], None]
) -> dict[str, dict[str, Any]]:
    """Run the named parts that have no answer yet, or all of them with ``again``.

    Without a CUDA device, all but "facts" are skipped. Writes ``gpu_check.json`` and ``gpu_check.md`` after each part.
    An answer is kept if the part was "ok" or "skipped" on the same machine; others are tried again.

    Returns:
        the answers of all parts that have one, also of earlier calls, by name in the order of ``PARTS``.

    Raises:
        OSError: the folder cannot be written.
    """
    site.folder.mkdir(parents=True, exist_ok=True)
    machine, usable = describe_machine(site), not site.on_gpu or torch.cuda.is_available()
    answers = _kept(site.folder, machine)
    for name in names:
        if not usable and name != "facts":
            answers[name] = {"status": f"skipped: {NO_DEVICE}", "question": PARTS[name].question}
        elif again or not _is_answered(answers.get(name), name, site):
            answers[name] = run_isolated(part_command(site, name), PARTS[name], site.folder / f"{name}.log")
            answers[name] |= {"videos": _videos_of(site)} if name == "files" else {}
            shutil.rmtree(site.folder / "scratch", ignore_errors=True)
        answers = {part: answers[part] for part in PARTS if part in answers}
        _write(site.folder, machine, answers)
        on_answer(name, answers[name])
    return answers


def _is_answered(answer: Mapping[str, Any] | None, name: str, site: Site) -> bool:
    """Whether a part need not run again: it has an answer, of the same videos where it reads any."""
    if answer is None or answer["status"].partition(":")[0] not in ("ok", "skipped"):
        return False
    return name != "files" or answer.get("videos", "") == _videos_of(site)


def _videos_of(site: Site) -> str:
    return str(site.videos.resolve()) if site.videos else ""


def part_command(site: Site, name: str) -> list[str]:
    """The command of a part's own process."""
    videos = ["--videos", str(site.videos.resolve())] if site.videos else []
    command = [*RESKD, "gpu-check", str(site.folder.resolve()), "--part", name]
    return [*command, "--device", site.device, *videos]


def run_isolated(command: Sequence[str], part: Part, log: Path) -> dict[str, Any]:
    """Run a part's command, its output in ``log``; its answer is the JSON file beside the log.

    Returns:
        the answer, with "status" (ok, skipped, failed, crashed by a signal, timed out), "seconds" and, if it failed,
        the last lines of the log as "log".
    """
    answer_file = log.with_suffix(".answer.json")
    answer_file.unlink(missing_ok=True)
    started = time.monotonic()
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            code: int | None = process.wait(part.limit_s)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end(process)
    answer = object_in(answer_file)
    answer_file.unlink(missing_ok=True)
    status = _status(code, answer, part.limit_s)
    found = {"status": status, "question": part.question, "seconds": round(time.monotonic() - started, 1), **answer}
    if not status.startswith(("ok", "skipped")):
        found["log"] = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
    return found


def answer_part(site: Site, name: str) -> None:
    """What the process of a part does: answer it, and leave the answer for ``run_isolated``."""
    try:
        answer = PARTS[name].answer(site)
    except subprocess.CalledProcessError as error:  # it has said why
        plain = itertools.takewhile(lambda word: not word.startswith("--"), error.cmd[1:])
        words = [Path(word).name if word.startswith("/") else word for word in plain if word != "-m"]
        answer = {"problem": f"{' '.join(words)} ended with exit code {error.returncode}"}
    atomic_write_text(site.folder / f"{name}.answer.json", as_json(answer))


def describe_machine(site: Site) -> str:
    """What an answer depends on, besides the code."""
    if not site.on_gpu:
        return f"rehearsal on a CPU, torch {torch.__version__}"
    return f"{name_of_gpu(0) or NO_DEVICE}, torch {torch.__version__}"


def _status(code: int | None, answer: dict[str, Any], limit_s: float) -> str:
    if code is None:
        return f"timed out: after {limit_s:g} s"
    if code < 0:
        return f"crashed: signal {signal.Signals(-code).name}"
    if code:
        return f"failed: exit code {code}"
    if "problem" in answer:
        return f"failed: {answer['problem']}"
    if "skipped" in answer:
        return f"skipped: {answer['skipped']}"
    return "ok" if answer else "failed: no answer"


def _end(process: subprocess.Popen[Any]) -> None:
    """End the part's process and all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _kept(folder: Path, machine: str) -> dict[str, dict[str, Any]]:
    found = object_in(folder / "gpu_check.json")
    parts = found.get("parts") if found.get("machine") == machine else None
    if not isinstance(parts, dict):
        return {}
    return {name: answer for name, answer in parts.items() if name in PARTS and "status" in answer}


def _write(folder: Path, machine: str, answers: dict[str, dict[str, Any]]) -> None:
    atomic_write_text(folder / "gpu_check.json", as_json({"machine": machine, "parts": answers}))
    atomic_write_text(folder / "gpu_check.md", as_markdown(machine, answers))
