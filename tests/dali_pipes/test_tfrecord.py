from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from dali_pipes.tfrecord import (
    FOOTER_BYTES,
    HEADER_BYTES,
    BrokenFramingError,
    DamagedRecordError,
    RecordPlace,
    RecordWriter,
    masked_crc,
    read_record,
    record_places,
)

RECORDS = [b"one", b"", b"x" * 1000]


def _write(path: Path, records: list[bytes] = RECORDS) -> Path:
    with RecordWriter(path) as writer:
        for record in records:
            writer.write(record)
    return path


def _read_all(path: Path) -> list[bytes]:
    file = os.open(path, os.O_RDONLY)
    try:
        return [read_record(file, place)[HEADER_BYTES:-FOOTER_BYTES] for place in record_places(file)]
    finally:
        os.close(file)


def test_a_known_file_byte_by_byte(tmp_path: Path) -> None:
    # CRC-32C of "123456789" is 0xE3069283 (RFC 3720, B.4 and every catalogue of checksums).
    crc = 0xE3069283
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32
    assert masked_crc(b"123456789") == masked
    data = _write(tmp_path / "a", [b"123456789"]).read_bytes()
    assert len(data) == 12 + 9 + 4
    assert data[:8] == (9).to_bytes(8, "little") and data[12:21] == b"123456789"
    assert data[21:] == struct.pack("<I", masked)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    assert _read_all(_write(tmp_path / "new" / "a.tfrecord")) == RECORDS


def test_a_file_that_failed_is_not_there_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyError), RecordWriter(tmp_path / "a") as writer:
        writer.write(b"one")
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_an_older_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = _write(tmp_path / "a")
    with RecordWriter(path) as writer:
        writer.write(b"new")
        assert _read_all(path) == RECORDS
    assert _read_all(path) == [b"new"]


@pytest.mark.parametrize("cut", [1, 4, 15, 1000, 1005, 1015])
def test_a_cut_file_gives_its_whole_records_and_says_so(tmp_path: Path, cut: int) -> None:
    path = _write(tmp_path / "a")
    path.write_bytes(path.read_bytes()[:-cut])
    file = os.open(path, os.O_RDONLY)
    places = record_places(file)
    assert [next(places).length, next(places).length] == [3, 0]
    with pytest.raises(DamagedRecordError, match="in the middle of record 2"):
        next(places)
    os.close(file)


@pytest.mark.parametrize(("byte", "message"), [(12, "bytes.*is wrong"), (14, "bytes"), (16, "bytes"), (0, "length")])
def test_a_changed_byte_is_noticed(tmp_path: Path, byte: int, message: str) -> None:
    path = _write(tmp_path / "a")
    data = bytearray(path.read_bytes())
    data[byte] ^= 1
    path.write_bytes(data)
    file = os.open(path, os.O_RDONLY)
    with pytest.raises(DamagedRecordError, match=message):
        read_record(file, RecordPlace(12, 3))
    os.close(file)


def test_other_files_are_no_records(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("path,label\n" * 10)
    with pytest.raises(BrokenFramingError, match="length of record 0 is wrong"):
        _read_all(tmp_path / "a")


def test_a_file_that_became_shorter_is_noticed(tmp_path: Path) -> None:
    path = _write(tmp_path / "a")
    file = os.open(path, os.O_RDONLY)
    with pytest.raises(DamagedRecordError, match="ends in the middle"):
        read_record(file, RecordPlace(12, 10**4))
    with pytest.raises(DamagedRecordError, match="written anew"):
        read_record(file, RecordPlace(12, 5))
    os.close(file)
