from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from reskd.training import checkpoint
from reskd.training.checkpoint import load_checkpoint, save_checkpoint


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "deep" / "last.pt", {"student": {"w": torch.arange(3)}, "num_steps": 7, "names": ["a"]})
    state = load_checkpoint(tmp_path / "deep" / "last.pt")
    assert torch.equal(state["student"]["w"], torch.arange(3))
    assert (state["num_steps"], state["names"]) == (7, ["a"])


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"num_steps": 1})

    def disk_full(state: Any, file: Any) -> None:
        file.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(checkpoint.torch, "save", disk_full)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(path, {"num_steps": 2})
    monkeypatch.undo()
    assert load_checkpoint(path)["num_steps"] == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["last.pt"]


def test_what_is_no_checkpoint_of_ours_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="expected a checkpoint at .*, found no such file"):
        load_checkpoint(tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(ValueError, match="found a file that .*use a checkpoint written by"):
        load_checkpoint(tmp_path / "text.pt")
    torch.save({"weights": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="expected a checkpoint of schema version 1 .*found None"):
        load_checkpoint(tmp_path / "other.pt")
