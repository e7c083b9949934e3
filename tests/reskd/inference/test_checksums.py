from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from reskd.inference.checksums import check_checksums, write_checksums


@pytest.fixture()
def folder(tmp_path: Path) -> Path:
    for name, text in (("config.json", "{}"), ("student.onnx", "a graph"), ("other.txt", "")):
        (tmp_path / name).write_text(text)
    write_checksums(tmp_path, ["config.json", "student.onnx", "student.pt2"])
    return tmp_path


def test_what_is_whole_is_passed_and_sha256sum_agrees(folder: Path) -> None:
    (folder / "other.txt").write_text("changed")
    check_checksums(folder)
    checked = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=folder, capture_output=True, text=True)
    assert checked.stdout.splitlines() == ["config.json: OK", "student.onnx: OK"]


def test_a_part_of_the_files_may_be_copied(folder: Path) -> None:
    (folder / "student.onnx").unlink()
    check_checksums(folder)
    (folder / "SHA256SUMS").unlink()
    (folder / "config.json").write_text("[]")
    check_checksums(folder)


@pytest.mark.parametrize("name", ["config.json", "student.onnx", "SHA256SUMS"])
@pytest.mark.parametrize("damage", ["bit", "empty", "cut", "folder", "pipe", "link"])
def test_damage_is_named(name: str, damage: str, folder: Path) -> None:
    path = folder / name
    data = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage == "pipe":
        os.mkfifo(path)
    elif damage == "link":
        path.symlink_to("nowhere")
    else:
        path.write_bytes({"bit": bytes([data[0] ^ 1]) + data[1:], "empty": b"", "cut": data[:-1]}[damage])
    with pytest.raises(ValueError, match=rf"{name}: expected|(config.json|student.onnx): expected the bytes") as error:
        check_checksums(folder)
    assert "copy the folder again" in str(error.value)
