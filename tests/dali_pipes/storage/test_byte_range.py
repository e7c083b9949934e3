from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from dali_pipes.storage.byte_range import ByteRange, stamp_of


@pytest.fixture(params=["path", "url"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    (tmp_path / "f").write_bytes(bytes(range(100)))
    if request.param == "url":
        pytest.importorskip("fsspec")
        return f"file://{tmp_path}/f"
    return str(tmp_path / "f")


def test_a_stretch_reads_and_seeks_like_a_file_of_its_bytes(file: str) -> None:
    content = io.BytesIO(bytes(range(10, 40)))
    with ByteRange(file, 10, 30) as byte_range:
        for offset, whence, size in [(0, 0, 5), (3, 1, 4), (-4, 2, 100), (28, 0, -1), (30, 0, 5), (99, 0, 1)]:
            assert byte_range.seek(offset, whence) == content.seek(offset, whence)
            assert byte_range.read(size) == content.read(size) and byte_range.tell() == content.tell()
        byte_range.seek(0)
        assert byte_range.readall() == bytes(range(10, 40))
        byte_range.seek(0)
        assert io.BufferedReader(byte_range, 7).read(20) == bytes(range(10, 30))


def test_a_file_that_ends_inside_of_a_stretch_is_an_error(file: str) -> None:
    with ByteRange(file, 90, 20) as byte_range, pytest.raises(OSError, match="expected 20 bytes at 90 of .*, found 10"):
        byte_range.read()


def test_a_stamp_changes_with_the_file(file: str) -> None:
    before = stamp_of(file)
    assert before.size == 100 and stamp_of(file) == before
    os.utime(file.removeprefix("file://"), ns=(0, 5))
    assert stamp_of(file) != before
    with pytest.raises(OSError):
        stamp_of(file + "_missing")


def test_a_closed_stretch_leaves_no_file_open(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with ByteRange(str(tmp_path / "f"), 0, 1):
            pass
        ByteRange(str(tmp_path / "f"), 0, 1)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
