from __future__ import annotations

import json
from pathlib import Path

from reskd.gpu_checks.report import as_json, as_markdown


def test_every_part_has_a_line_and_a_section() -> None:
    rows = [{"kind": "vp9 | hidden", "messages": ["a\nb"], "num_wrong": number} for number in range(100)]
    answers = {
        "facts": {"status": "ok", "question": "What?", "seconds": 1.5, "nvdec": {"problem": ""}},
        "frames": {
            "status": "failed: wrong",
            "question": "Right?",
            "seconds": 2,
            "table": rows,
            "log": ["last | line"],
        },
        "step": {"status": "skipped: no CUDA device"},
    }
    text = as_markdown("A GPU", answers)
    assert text.startswith("# GPU check: A GPU\n")
    assert "| frames | Right? | failed: wrong | 2 |" in text
    assert '- nvdec: `{"problem": ""}`' in text
    assert '| vp9 \\| hidden | ["a\\nb"] | 3 |' in text
    assert "20 more rows in gpu_check.json." in text
    assert "```text\nlast | line\n```" in text


def test_json_takes_paths_and_tuples() -> None:
    assert json.loads(as_json({"folder": Path("a/b"), "size": (1, 2)})) == {"folder": "a/b", "size": [1, 2]}
