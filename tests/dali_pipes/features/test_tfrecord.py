from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from dali_pipes.features.tfrecord import (
    FOOTER_BYTES,
    HEADER_BYTES,
    BrokenFramingError,
    DamagedRecordError,
    RecordLocation,
    RecordWriter,
    find_record,
    masked_crc,
    read_record,
    record_locations,
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
        return [read_record(file, location)[HEADER_BYTES:-FOOTER_BYTES] for location in record_locations(file)]
    finally:
        os.close(file)


def test_a_known_file_byte_by_byte(tmp_path: Path) -> None:
    # CRC-32C of "123456789" is 0xE3069283 (RFC 3720, B.4 and every catalog of checksums).
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
    locations = record_locations(file)
    assert [next(locations).length, next(locations).length] == [3, 0]
    with pytest.raises(DamagedRecordError, match="in the middle of a record"):
        next(locations)
    os.close(file)


@pytest.mark.parametrize(("byte", "message"), [(12, "bytes.*is wrong"), (14, "bytes"), (16, "bytes"), (0, "length")])
def test_a_changed_byte_is_noticed(tmp_path: Path, byte: int, message: str) -> None:
    path = _write(tmp_path / "a")
    data = bytearray(path.read_bytes())
    data[byte] ^= 1
    path.write_bytes(data)
    file = os.open(path, os.O_RDONLY)
    with pytest.raises(DamagedRecordError, match=message):
        read_record(file, RecordLocation(12, 3))
    os.close(file)


@pytest.mark.parametrize(
    ("start", "found"),
    [
        (0, RecordLocation(12, 3)),
        (1, RecordLocation(31, 0)),
        (19, RecordLocation(31, 0)),
        (20, RecordLocation(47, 1000)),
        (36, None),
        (2000, None),
    ],
)
def test_the_next_sound_record_is_found_from_any_byte(tmp_path: Path, start: int, found: RecordLocation | None) -> None:
    path = _write(tmp_path / "a")  # headers at 0, 19, 35
    file = os.open(path, os.O_RDONLY)
    assert find_record(file, start) == found
    assert list(record_locations(file, 19)) == [RecordLocation(31, 0), RecordLocation(47, 1000)]
    os.close(file)


@pytest.mark.parametrize("zeros", [0, 1, (1 << 18) - 5, (1 << 18) + 3])
def test_a_record_behind_much_of_nothing_is_found(tmp_path: Path, zeros: int) -> None:
    path = _write(tmp_path / "a", [b"x" * 40])
    whole = path.read_bytes()
    path.write_bytes(bytes(zeros) + whole[:12] + bytes(44) + whole)  # a header whose record is not its own comes first
    file = os.open(path, os.O_RDONLY)
    assert find_record(file, 0) == RecordLocation(zeros + 56 + 12, 40)
    os.close(file)


def test_other_files_are_no_records(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("path,label\n" * 10)
    with pytest.raises(BrokenFramingError, match="checksum of the record's length is wrong"):
        _read_all(tmp_path / "a")


def test_a_file_that_became_shorter_is_noticed(tmp_path: Path) -> None:
    path = _write(tmp_path / "a")
    file = os.open(path, os.O_RDONLY)
    with pytest.raises(DamagedRecordError, match="ends in the middle"):
        read_record(file, RecordLocation(12, 10**4))
    with pytest.raises(DamagedRecordError, match="file was rewritten"):
        read_record(file, RecordLocation(12, 5))
    os.close(file)
