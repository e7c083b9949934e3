from __future__ import annotations

import io
import random
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from reskd.models.weights.files import read_weight_file
from reskd.models.weights.torch_digest import find_damage, save_with_digest
from reskd.training.checkpoint import load_checkpoint, save_checkpoint

STATE: dict[str, Any] = {
    "student": {"w": torch.arange(30.0), "b": torch.zeros(3, dtype=torch.int64)},
    "num_steps": 7,
    "config": {"name": "x", "lr": 0.1},
}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "last.pt", STATE)
    return tmp_path / "last.pt"


def test_every_single_flipped_bit_is_noticed(saved: Path) -> None:
    content = saved.read_bytes()
    rng = random.Random(0)
    ends = [*range(64), *range(len(content) - 120, len(content))]
    for position in ends + rng.sample(range(len(content)), 400):
        flipped = bytearray(content)
        flipped[position] ^= 1 << rng.randrange(8)
        saved.write_bytes(flipped)
        with pytest.raises(ValueError, match=r"last\.pt"):
            load_checkpoint(saved)
        with pytest.raises(ValueError, match=r"last\.pt"):
            read_weight_file(saved)


@pytest.mark.parametrize("num_bytes", [0, 1, 22, 77, 79, 99, 101, 1000])
def test_a_file_that_is_cut_or_grew_is_refused(num_bytes: int, saved: Path) -> None:
    content = saved.read_bytes()
    damaged = [content[: len(content) - num_bytes], content + bytes(num_bytes), bytes(num_bytes) + content]
    for one in damaged if num_bytes else [b""]:
        saved.write_bytes(one)
        with pytest.raises(ValueError, match=r"last\.pt"):
            load_checkpoint(saved)


def test_a_file_of_an_earlier_version_loads_and_its_checksums_count(tmp_path: Path) -> None:
    path = tmp_path / "old.pt"
    torch.save({"schema_version": 1, **STATE}, path)
    assert load_checkpoint(path)["num_steps"] == 7
    content = path.read_bytes()
    at = content.index(torch.tensor(17.0).numpy().tobytes())
    path.write_bytes(content[:at] + b"\1" + content[at + 1 :])
    with pytest.raises(ValueError, match=r"old\.pt: expected .* found one that holds other bytes in"):
        load_checkpoint(path)


def test_files_of_others_are_left_to_their_readers(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(3)}, tmp_path / "theirs.pth")
    torch.save({"w": torch.ones(3)}, tmp_path / "legacy.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "text.pt").write_text("hello")
    assert [find_damage(tmp_path / name) for name in ("theirs.pth", "legacy.pth", "text.pt")] == [None] * 3
    assert set(read_weight_file(tmp_path / "theirs.pth").tensors) == {"w"}


def test_other_readers_take_a_file_with_a_digest(saved: Path) -> None:
    assert torch.equal(torch.load(saved, weights_only=True)["student"]["w"], torch.arange(30.0))
    assert torch.equal(torch.load(saved, weights_only=True, mmap=True)["student"]["w"], torch.arange(30.0))
    with zipfile.ZipFile(saved) as archive:
        assert archive.comment.startswith(b"reskd sha256 ") and archive.testzip() is None


def test_a_failed_write_is_the_systems_error_and_not_torchs() -> None:
    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            if self.tell() > 500:
                raise OSError(28, "No space left on device")
            return super().write(data)

    with pytest.raises(OSError, match="No space left"):
        save_with_digest({"w": torch.zeros(1000)}, Full())
    with pytest.raises(RuntimeError, match="not an int"):

        class Broken(io.BytesIO):
            def write(self, data: Any) -> int:
                raise RuntimeError("not an int")

        save_with_digest({"w": torch.zeros(1000)}, Broken())
