from __future__ import annotations

import io
import random
from pathlib import Path

import pytest

from dali_pipes.scan.content_hash import Piece, sample_hash, sample_hash_of, whole_hash
from dali_pipes.scan.scan import scan
from tests.conftest import numbered_clip


def _flipped(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


@pytest.mark.parametrize("size", [1, 100, 4096, 5000, 40_000])
def test_files_and_bytes_have_one_hash(tmp_path: Path, size: int) -> None:
    data = random.Random(size).randbytes(size)
    (tmp_path / "whole").write_bytes(data)
    (tmp_path / "shard").write_bytes(b"before" + data + b"after")
    expected = sample_hash_of(io.BytesIO(data), size)
    assert 1 <= expected < 2**63
    assert sample_hash([Piece(str(tmp_path / "whole"), 0, size)]) == expected
    assert sample_hash([Piece(str(tmp_path / "shard"), 6, size)]) == expected


def test_the_start_the_middle_and_the_end_count(tmp_path: Path) -> None:
    data = random.Random(0).randbytes(40_000)
    expected = sample_hash_of(io.BytesIO(data), len(data))
    for position in (0, 20_000, 39_999):
        assert sample_hash_of(io.BytesIO(_flipped(data, position)), len(data)) != expected
    changed = _flipped(data, 10_000)
    assert sample_hash_of(io.BytesIO(changed), len(data)) == expected
    for name, content in {"a": data, "b": changed}.items():
        (tmp_path / name).write_bytes(content)
    hashes = {whole_hash([Piece(str(tmp_path / name), 0, len(data))]) for name in ("a", "b")}
    assert len(hashes) == 2


def test_the_scan_keeps_the_hash(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "a.mp4", "libx264", 5)
    expected = sample_hash([Piece(str(tmp_path / "a.mp4"), 0, (tmp_path / "a.mp4").stat().st_size)])
    for _ in range(2):  # the second time from the table
        assert scan(["a.mp4"], root=tmp_path)["a.mp4"].content == expected
