"""A notebook as a Markdown page: its text, its code, and what it printed and drew.

As Markdown, its links are checked like those of any page, and the theme gives its code colors and a copy button.
mkdocs-jupyter 0.26 does neither, and its pages load MathJax from a server.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple


class NotebookPage(NamedTuple):
    markdown: str
    pictures: Mapping[str, bytes]  # name beside the page -> PNG


def notebook_page(path: Path) -> NotebookPage:
    """Read the notebook at ``path``, whose stored outputs are shown as they are.

    Raises:
        ValueError: an output of a kind that a page cannot show.
    """
    blocks: list[str] = []
    pictures: dict[str, bytes] = {}
    for number, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"]):
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            blocks.append(source)
            continue
        blocks.append(_fenced(source, "python"))
        for output in cell["outputs"]:
            data = _data_of(output, path)
            if "image/png" in data:
                name = f"{path.stem}_{number}.png"
                pictures[name] = base64.b64decode(data["image/png"])
                blocks.append(f"![Drawn by the code above]({name})")
            else:
                blocks.append(_fenced("".join(data["text/plain"]), "text", ".notebook-output"))
    return NotebookPage("\n\n".join(blocks) + "\n", pictures)


def _data_of(output: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    """What an output holds, by MIME type."""
    if output["output_type"] == "stream":
        return {"text/plain": output["text"]}
    data: Mapping[str, Any] = output.get("data", {})
    if not {"image/png", "text/plain"} & data.keys():
        raise ValueError(f"{path.name}: expected outputs of text and PNG pictures, found {output['output_type']}.")
    return data


def _fenced(text: str, language: str, *classes: str) -> str:
    attributes = f" {{ .{language} {' '.join(classes)} }}" if classes else language
    return f"````{attributes}\n{text.rstrip()}\n````"
