"""The public names: declared once for Python and once for type checkers, documented, and used by examples that run."""

from __future__ import annotations

import ast
import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
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


def _blocks(language: str) -> list[str]:
    text = DOCUMENT.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def _videos(folder: Path, make_folder: Callable[..., Path]) -> None:
    """Eight clips, no two of equal content, and no scan of them."""
    made = make_folder({"left": ["libx264"] * 4, "right": ["libx264"] * 4}, num_frames=12)
    shutil.copytree(made, folder / "videos", ignore=shutil.ignore_patterns(".reskd_scan"))
    for number, file in enumerate(sorted((folder / "videos").glob("*/*.mp4"))):
        with file.open("ab") as end:
            end.write((12).to_bytes(4, "big") + b"free" + number.to_bytes(4, "big"))  # a box that players skip


@pytest.mark.slow
def test_the_examples_run_as_they_stand(
    tmp_path: Path,
    make_folder: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _videos(tmp_path, make_folder)
    (tmp_path / "videos/left/broken.mp4").write_bytes(b"no video")
    monkeypatch.chdir(tmp_path)
    blocks = [block for block in _blocks("python") if "torch.distributed" not in block]
    assert len(blocks) == 7 and all(len(block.splitlines()) <= 17 for block in blocks)
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, "docs/python.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "videos/left/broken.mp4 cannot be read:" in printed
    assert printed.count("videos/left/") == 5
    assert "torch.Size([2, 4, 64, 64, 3]) torch.Size([2, 4, 32, 32, 3])" in printed
    assert "4 clips validated" in printed and "ClipLoader(" in printed and "views['teacher']: View(" in printed
    assert "torch.Size([2, 2])" in printed and "torch.Size([8, 16, 4, 4])" in printed


def _steps(command: str, folder: Path, *, is_first: bool = False) -> dict[str, str]:
    """ "step 1, rank 0" -> the rest of its line; ``command`` is one of the document's."""
    _, *arguments = shlex.split(command)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("new files: each is decoded once") == is_first, done.stderr
    found = re.findall(r"(step \d+, rank \d+): (clips \[.*?\], loss [\d.]+)", done.stdout)
    assert len(dict(found)) == len(found)
    return dict(found)


@pytest.mark.slow
def test_the_training_of_several_processes_is_stopped_and_resumed_amid_an_epoch(
    tmp_path: Path, make_folder: Callable[..., Path]
) -> None:
    _videos(tmp_path, make_folder)
    (script,) = [block for block in _blocks("python") if "torch.distributed" in block]
    (tmp_path / "own_training.py").write_text(script)
    (commands,) = _blocks("console")
    stop, resume = commands.splitlines()
    first = _steps(stop, tmp_path, is_first=True)
    second = _steps(resume, tmp_path)
    assert len(first) == 2 * 3 and len(second) == 2 * 5 and not first.keys() & second.keys()
    (tmp_path / "own.pt").unlink()
    assert _steps(resume, tmp_path) == first | second
