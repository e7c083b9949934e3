"""Describe the kind of a file, for the error message about a wrong one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from dali_pipes.json_files import parse_json

_ARCHIVES = {b"PK\x03\x04": "a zip archive", b"\x1f\x8b": "a gzip archive"}

_LINES = (  # pattern that each of the first lines must match, and description of such a file
    (r"[01](\.0*)?(\s+[01](\.0*)?)+", "a matrix of labels (FCVID_Label.txt)"),
    (r"[\w-]{11}", "a list of YouTube ids (Mini-Kinetics-200's train_ytid_list.txt or val_ytid_list.txt)"),
    (r"\S.*[ ;]\d+[ ;]\d+", "a list of frame folders (path, frames, label), as AdaFuse has for Mini-Kinetics"),
    (r"[^,]+,\d+(,\d+)+", "a list of frame folders (path,frames,label,...), as AR-Net has for ActivityNet and FCVID"),
    (r"\S+\s+(train|test)", "a list of splits (FCVID_VideoName_TrainTestSplit.txt)"),
    (r"\d+;.*", "Something-Something's test-answers.csv"),
    (r".*,.*", "a CSV"),
    (r"[^/]+", "a list of names, one per line"),
)


def describe_file(path: Path) -> str:
    """Return a phrase such as "a Kinetics CSV"; never raises for a file that can be opened."""
    start = path.read_bytes()[: 1 << 20]
    for magic, archive in _ARCHIVES.items():
        if start.startswith(magic):
            return f"{archive}; unpack it and give the files in it"
    if b"\0" in start:
        return "a file that is not text"
    text = start.decode("utf-8-sig", errors="replace").strip()
    if not text:
        return "an empty file"
    if text.lower().startswith(("<!doctype", "<html")):
        return "a web page, perhaps from a failed download"
    return _describe_json(path) if text.startswith(("{", "[")) else _describe_lines(text.splitlines())


def _describe_lines(lines: list[str]) -> str:
    if "youtube_id" in lines[0]:
        return f"a Kinetics CSV with the columns {lines[0].strip()}"
    for pattern, kind in _LINES:
        if all(re.fullmatch(pattern, line.strip()) for line in lines[:20]):
            return kind if kind != "a CSV" else f"a CSV that begins with {lines[0][:80]!r}"
    return f"text that begins with {lines[0][:80]!r}"


def _describe_json(path: Path) -> str:
    try:
        tree: Any = parse_json(path.read_text(encoding="utf-8-sig"))
    except ValueError:
        return "damaged JSON"
    if isinstance(tree, dict) and "database" in tree:
        return "an ActivityNet annotation file"
    if isinstance(tree, dict) and tree and all(isinstance(value, dict) and "url" in value for value in tree.values()):
        return "Kinetics annotations in JSON; give the CSV of the same name"
    if isinstance(tree, dict) and tree and all(str(value).isdigit() for value in tree.values()):
        return "Something-Something's labels.json"
    if isinstance(tree, dict):
        return f"JSON with the keys {', '.join(map(str, list(tree)[:5]))}"
    keys = sorted(tree[0]) if tree and isinstance(tree[0], dict) else []
    if "id" in keys:
        return f"a Something-Something list of videos with the keys {', '.join(keys)}"
    return f"a JSON list of {len(tree)} entries"
