"""The public names: declared once for Python and once for type checkers, documented, and used by examples that run."""

from __future__ import annotations

import ast
import importlib
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs/python.md"
PACKAGES = ("reskd", "dali_pipes")


@pytest.mark.parametrize("package", PACKAGES)
def test_the_names_are_there_and_the_same_for_type_checkers(package: str) -> None:
    module = importlib.import_module(package)
    public = {name for name in module.__all__ if name != "__version__"}
    assert all(getattr(module, name).__module__ if callable(getattr(module, name)) else True for name in public)
    assert public <= set(dir(module))
    with pytest.raises(AttributeError, match="has no attribute 'no_such_name'"):
        module.no_such_name  # noqa: B018
    stub = ast.parse((ROOT / package / "__init__.pyi").read_text())
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    declared = {(alias.asname, node.module) for node in imports for alias in node.names}
    assert declared == set(module._PUBLIC.items())


@pytest.mark.parametrize("package", PACKAGES)
def test_the_document_names_them_all(package: str) -> None:
    row = re.search(rf"^\| `{package}` \| (.+) \|$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert row is not None
    names = set(importlib.import_module(package).__all__) - {"__version__"}
    assert set(re.findall(r"`(\w+)`", row[1])) == names


@pytest.mark.slow
def test_the_examples_run_as_they_stand(
    tmp_path: Path,
    make_folder: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    videos = make_folder({"left": ["libx264"] * 4, "right": ["libx264"] * 4}, num_frames=12)
    shutil.copytree(videos, tmp_path / "videos")
    (tmp_path / "videos/left/broken.mp4").write_bytes(b"no video")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 6 and all(len(block.splitlines()) <= 17 for block in blocks)
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, "docs/python.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "videos/left/broken.mp4 cannot be read:" in printed
    assert printed.count("videos/left/") == 5
    assert "torch.Size([2, 4, 64, 64, 3]) torch.Size([2, 4, 32, 32, 3])" in printed
    assert "torch.Size([2, 2])" in printed and "torch.Size([8, 16, 4, 4])" in printed
