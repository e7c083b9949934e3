"""The layers of the code, read from docs/layers.txt, and the documents that show them.

    python -m tests.layers          # write the layers into the documents again

docs/layers.txt has one line a layer, highest first: folders, then what they hold. A folder means its own files, not
those of the folders in it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEXT = ROOT / "docs/layers.txt"
DOCUMENTS = (ROOT / "docs/architecture.md", ROOT / "CONTRIBUTING.md")
_BLOCK = re.compile(r"(<!-- layers.txt -->\n```\n).*?(```\n)", re.DOTALL)


def layer_of_folder() -> Mapping[str, int]:
    """Folder -> its layer, 0 for the lowest."""
    lines = TEXT.read_text(encoding="utf-8").splitlines()
    layers = [re.split(r" {2,}", line)[0].split() for line in reversed(lines)]
    return {folder: layer for layer, folders in enumerate(layers) for folder in folders}


def with_layers(document: str) -> str:
    """The document with the text of docs/layers.txt between its marks."""
    return _BLOCK.sub(lambda match: match[1] + TEXT.read_text(encoding="utf-8") + match[2], document)


if __name__ == "__main__":
    for path in DOCUMENTS:
        path.write_text(with_layers(path.read_text(encoding="utf-8")), encoding="utf-8")
