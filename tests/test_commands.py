"""The commands that configs and documents show can be typed as they stand."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from reskd.experiment.stages import check_stages, load_stages

ROOT = Path(__file__).parents[1]
SHOWN_IN = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "configs").rglob("*.yaml"))]
# Up to whatever ends a command in a sentence or a shell.
COMMAND = re.compile(r"\breskd[ .]train (configs/[^`|&\n]*)")


def _shown_commands() -> dict[str, list[str]]:
    """Each as it is shown -> its words; comments and what only alternatives (a|b) stand for left out."""
    lines = [line for path in SHOWN_IN for line in path.read_text(encoding="utf-8").splitlines()]
    found = [match[1].strip() for line in lines for match in COMMAND.finditer(line)]
    return {command: shlex.split(command, comments=True) for command in found}


COMMANDS = _shown_commands()


def test_commands_are_found() -> None:
    assert any("name=ucf10_both_2x48" in words for words in COMMANDS.values())
    assert len(COMMANDS) >= 8


@pytest.mark.parametrize("command", COMMANDS)
def test_a_shown_command_is_one_that_the_tool_takes(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    config, *rest = (word.rstrip(",.;)") for word in COMMANDS[command])
    assert all("=" in word or word.startswith("--") for word in rest), command
    check_stages(load_stages(config, [word for word in rest if not word.startswith("--")]))
