from __future__ import annotations

import builtins
import os
import random
from pathlib import Path
from typing import Any

import pytest

from dali_pipes.config import DataConfig
from dali_pipes.manifest.build import build_manifests
from dali_pipes.manifest.copies import find_copies
from tests.conftest import numbered_clip
from tests.dali_pipes.storage.stored_clips import write_frames, write_tar

VIEWS = {"student": {"size": 16, "source": "decoded"}}


def _config(root: Path, **changes: Any) -> DataConfig:
    return DataConfig(**{"root": root, "train": "list.csv", "val_fraction": 0, "views": VIEWS, **changes})


def _write(root: Path, **content: bytes) -> list[str]:
    for name, data in content.items():
        (root / name).write_bytes(data)
    return list(content)


def test_files_of_equal_content_links_and_nothing_else_are_found(tmp_path: Path) -> None:
    rng = random.Random(0)
    data = rng.randbytes(40_000)
    middle = data[:30_000] + b"x" + data[30_001:]  # differs where no sample lies
    names = _write(tmp_path, a=data, b=rng.randbytes(40_000), c=middle, d=data, e=data[:-1], f=b"", g=b"")
    os.link(tmp_path / "b", tmp_path / "h")
    (tmp_path / "i").symlink_to("e")
    (tmp_path / "j").symlink_to("nowhere")
    found = find_copies(_config(tmp_path), [*names, "h", "i", "j", "missing"], {})
    assert found == [("a", "d"), ("b", "h"), ("e", "i")]


def test_files_of_different_sizes_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = _write(tmp_path, **{f"v{number}": b"x" * (number + 1) for number in range(50)})

    def refuse(*positional: Any, **keywords: Any) -> None:
        raise AssertionError("a file is opened")

    with monkeypatch.context() as patched:
        patched.setattr(builtins, "open", refuse)
        assert find_copies(_config(tmp_path), names, {}) == []


def test_what_the_scan_tells_apart_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbered_clip(tmp_path / "a.mp4", "libx264", 5)
    numbered_clip(tmp_path / "b.mp4", "libx264", 6)
    size = (tmp_path / "b.mp4").stat().st_size
    with (tmp_path / "a.mp4").open("ab") as file:
        file.write(bytes(size - (tmp_path / "a.mp4").stat().st_size))
    (tmp_path / "list.csv").write_text("path,label\na.mp4,x\nb.mp4,x\n")
    monkeypatch.setattr("dali_pipes.manifest.copies._pieces", lambda *positional: pytest.fail("a file is read"))
    assert len(build_manifests(_config(tmp_path), seed=0, splits=("train",))["train"]) == 2


def test_videos_in_shards_and_folders_of_frames_are_compared(tmp_path: Path) -> None:
    content = {"a.mp4": b"1234" * 100, "b.mp4": b"1234" * 99 + b"1235"}
    write_tar(tmp_path / "s0.tar", content)
    write_tar(tmp_path / "s1.tar", {"c.mp4": content["a.mp4"]})
    paths = ["s0.tar/a.mp4", "s0.tar/b.mp4", "s1.tar/c.mp4"]
    assert find_copies(_config(tmp_path, storage={"kind": "shards"}), paths, {}) == [("s0.tar/a.mp4", "s1.tar/c.mp4")]
    for name, num_frames in (("x/1", 3), ("x/2", 3), ("y/3", 4)):
        write_frames(tmp_path / "frames" / name, num_frames)
    config = _config(tmp_path / "frames", storage={"kind": "frames"}, train="folders")
    messages: list[str] = []
    build_manifests(config, seed=0, splits=("train",), on_message=messages.append)
    assert any("x/1 and x/2 have the same content" in message for message in messages)
    assert find_copies(config, ["x/1", "x/2", "y/3"], {}) == [("x/1", "x/2")]  # as the scan's tables tell
