"""The answers of all parts as JSON and as Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

_MOST_ROWS = 80


def as_json(content: Any) -> str:
    """Indented JSON; paths and tuples are written as text and lists."""
    return json.dumps(content, indent=1, default=str) + "\n"


def as_markdown(machine: str, answers: Mapping[str, Mapping[str, Any]]) -> str:
    """A table of all parts, then the facts and the table of each."""
    lines = [f"# GPU check: {machine}", "", "| part | question | result | s |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {answer.get('question', '')} | {_cell(answer['status'])} | {answer.get('seconds', '')} |"
        for name, answer in answers.items()
    ]
    for name, answer in answers.items():
        lines += ["", f"## {name}", "", f"{answer['status']}"]
        for key, value in answer.items():
            if key in ("status", "question", "seconds", "table", "log", "problem", "skipped"):
                continue
            lines += ["", f"- {key}: `{json.dumps(value, default=str)}`"]
        if answer.get("table"):
            lines += ["", *_table(answer["table"])]
        if answer.get("log"):
            lines += ["", "```text", *answer["log"], "```"]
    return "\n".join(lines) + "\n"


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    names = list(rows[0])
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    lines += [f"| {' | '.join(_cell(row.get(name, '')) for name in names)} |" for row in rows[:_MOST_ROWS]]
    if len(rows) > _MOST_ROWS:
        lines.append(f"\n{len(rows) - _MOST_ROWS} more rows in gpu_check.json.")
    return lines


def _cell(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text.replace("|", "\\|").replace("\n", " ")
