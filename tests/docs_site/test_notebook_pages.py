"""A notebook becomes a page with its text, code, printed text and pictures."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from docs_site.notebook_pages import notebook_page


def _written(folder: Path, *outputs: dict[str, Any]) -> Path:
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "text"]},
        {"cell_type": "code", "source": ["print(1)"], "outputs": list(outputs)},
    ]
    path = folder / "a.ipynb"
    path.write_text(json.dumps({"cells": cells}))
    return path


def test_text_code_and_outputs_follow_each_other(tmp_path: Path) -> None:
    printed = {"output_type": "stream", "name": "stdout", "text": ["1\n"]}
    drawn = {"output_type": "display_data", "data": {"image/png": base64.b64encode(b"PNG").decode()}}
    page = notebook_page(_written(tmp_path, printed, drawn))
    assert page.markdown.startswith(
        "# Title\ntext\n\n````python\nprint(1)\n````\n\n```` { .text .notebook-output }\n1\n````"
    )
    assert page.markdown.endswith("(a_1.png)\n")
    assert page.pictures == {"a_1.png": b"PNG"}


def test_an_output_that_no_page_can_show_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected outputs of text and PNG pictures, found error"):
        notebook_page(_written(tmp_path, {"output_type": "error", "ename": "E"}))
