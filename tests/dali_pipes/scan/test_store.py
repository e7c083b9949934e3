from __future__ import annotations

import hashlib
import os
import pickle
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dali_pipes.packets.packet_index import PACKET, PacketIndex
from dali_pipes.scan.index_reader import IndexReader
from dali_pipes.scan.scan import scan
from dali_pipes.scan.store import VideoInfoWriter, read_video_info
from dali_pipes.video_info import PacketLocation, VideoInfo
from tests.conftest import numbered_clip
from tests.dali_pipes.made_video_info import make_video_info

FACTS = make_video_info(num_frames=12, num_packets=12, rotation=90, matrix="bt709", whole_file="")


def make_index(seed: int, num_packets: int = 12, codec_header: bytes = b"stub one") -> PacketIndex:
    packets_P = np.frombuffer(np.random.default_rng(seed).bytes(num_packets * PACKET.itemsize), PACKET)
    return PacketIndex(packets_P, codec_header)


def assert_index(video_info: VideoInfo, expected: PacketIndex, reader: IndexReader | None = None) -> None:
    assert video_info.packets is not None
    found = (reader or IndexReader()).read(video_info.packets, video_info.num_packets)
    assert found.codec_header == expected.codec_header and found.packets_P.tobytes() == expected.packets_P.tobytes()


def part_of(folder: Path, suffix: str) -> Path:
    (part,) = folder.glob(f"*{suffix}")
    return part


def test_what_is_written_is_read(tmp_path: Path) -> None:
    indexes = {f"{n}.mp4": make_index(n, 12, b"stub %d" % (n % 2)) for n in range(5)}
    with VideoInfoWriter(tmp_path) as writer:
        written = {name: writer.add(name, FACTS, index) for name, index in indexes.items()}
        written["whole.avi"] = writer.add("whole.avi", replace(FACTS, whole_file="no time stamp, nothing"), None)
    assert read_video_info(tmp_path) == written
    reader = IndexReader()
    for name, index in indexes.items():
        assert_index(written[name], index, reader)
    assert part_of(tmp_path, ".packets").read_bytes().count(b"stub 0") == 1  # equal stubs are kept once


NAMES = [
    "plain.mp4",
    'quote " and, comma.mp4',
    "new\nline.mp4",
    "carriage\r\nreturn.mp4",
    "\r",
    "caf\u00e9 \u2603.mp4",
    os.fsdecode(b"not-utf8-\xff\xfe.mp4"),
    "x" * 250 + ".mp4",
    "=1+1",
    " spaces ",
]


def test_any_file_name_survives(tmp_path: Path) -> None:
    with VideoInfoWriter(tmp_path) as writer:
        written = {name: writer.add(name, FACTS, make_index(n)) for n, name in enumerate(NAMES)}
    found = read_video_info(tmp_path)
    assert found == written
    for number, name in enumerate(NAMES):
        assert_index(found[name], make_index(number))


def test_files_with_odd_names_are_scanned_once(tmp_path: Path) -> None:
    names = [os.fsdecode(name) for name in (b"not-utf8-\xff.mp4", b"new\nline.mp4", b"y" * 250 + b".mp4")]
    first = numbered_clip(tmp_path / "first.mp4", "libx264", 3)
    for name in names:
        (tmp_path / name).write_bytes(first.read_bytes())
    probed: list[int] = []
    for _ in range(2):
        video_info = scan(names, root=tmp_path, on_progress=lambda done, total, num_bytes: probed.append(done))
        assert [video_info[name].num_frames for name in names] == [3, 3, 3]
    assert probed == [0, 1, 2, 3]


def test_a_torn_table_loses_only_what_was_torn(tmp_path: Path) -> None:
    """Cut at every byte of the last row: an earlier row never changes, and the last is whole or absent."""
    with VideoInfoWriter(tmp_path) as writer:
        written = {f"{n}.mp4": writer.add(f"{n}.mp4", FACTS, make_index(n)) for n in range(3)}
    table = part_of(tmp_path, ".csv")
    content = table.read_bytes()
    last_row = content.rstrip().rfind(b"\n") + 1
    for length in range(last_row, len(content)):
        table.write_bytes(content[:length])
        assert read_video_info(tmp_path) == {name: written[name] for name in ("0.mp4", "1.mp4")}
    table.write_bytes(content)
    assert read_video_info(tmp_path) == written


def test_a_table_torn_in_its_head_is_no_table(tmp_path: Path) -> None:
    with VideoInfoWriter(tmp_path) as writer:
        writer.add("0.mp4", FACTS, make_index(0))
    table = part_of(tmp_path, ".csv")
    for length in (0, 1, 20, 100):
        table.write_bytes(table.read_bytes()[:length])
        assert read_video_info(tmp_path) == {}


def test_rows_whose_index_was_lost_are_left_out(tmp_path: Path) -> None:
    """After a power failure a table may be longer than its indexes."""
    with VideoInfoWriter(tmp_path) as writer:
        for n in range(3):
            writer.add(f"{n}.mp4", FACTS, make_index(n))
        writer.add("whole.avi", replace(FACTS, whole_file="some reason"), None)
    packets = part_of(tmp_path, ".packets")
    packets.write_bytes(packets.read_bytes()[:-1])
    assert set(read_video_info(tmp_path)) == {"0.mp4", "1.mp4", "whole.avi"}
    packets.unlink()
    assert set(read_video_info(tmp_path)) == {"whole.avi"}


def test_a_killed_scan_goes_on_where_it_was(tmp_path: Path) -> None:
    code = (
        "import sys, os, signal; from pathlib import Path\n"
        "from tests.dali_pipes.scan.test_store import FACTS, make_index\n"
        "from dali_pipes.scan.store import VideoInfoWriter\n"
        "writer = VideoInfoWriter(Path(sys.argv[1]))\n"
        "for n in range(4): writer.add(f'{n}.mp4', FACTS, make_index(n))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=Path(__file__).parents[3])
    assert run.returncode == -signal.SIGKILL
    found = read_video_info(tmp_path)
    assert set(found) == {f"{n}.mp4" for n in range(4)}
    for n in range(4):
        assert_index(found[f"{n}.mp4"], make_index(n))


def test_two_writers_at_a_time_share_a_folder(tmp_path: Path) -> None:
    with VideoInfoWriter(tmp_path) as one, VideoInfoWriter(tmp_path) as other:
        for n in range(6):
            (one if n % 2 else other).add(f"{n}.mp4", FACTS, make_index(n))
    assert len(list(tmp_path.glob("*.csv"))) == 2
    found = read_video_info(tmp_path)
    for n in range(6):
        assert_index(found[f"{n}.mp4"], make_index(n))


def test_a_later_file_wins(tmp_path: Path) -> None:
    for number, num_frames in enumerate((3, 5)):
        with VideoInfoWriter(tmp_path) as writer:
            writer.add("a.mp4", replace(FACTS, num_frames=num_frames), make_index(num_frames))
        for part in tmp_path.glob("2*"):  # as if a second had passed
            part.rename(part.with_name(f"{number}-{part.name}"))
    assert read_video_info(tmp_path)["a.mp4"].num_frames == 5


def test_nothing_is_written_where_nothing_was_found(tmp_path: Path) -> None:
    with VideoInfoWriter(tmp_path / "store"):
        pass
    assert not (tmp_path / "store").exists() and read_video_info(tmp_path / "store") == {}


def test_an_index_file_that_is_gone_or_short_is_an_error_with_its_name(tmp_path: Path) -> None:
    with VideoInfoWriter(tmp_path) as writer:
        video_info = writer.add("a.mp4", FACTS, make_index(0))
    assert video_info.packets is not None
    packets = part_of(tmp_path, ".packets")
    packets.write_bytes(packets.read_bytes()[:20])
    with pytest.raises(ValueError, match=r"\.packets: expected 156 bytes at 8, found 12; scan again"):
        IndexReader().read(video_info.packets, 12)
    packets.unlink()
    with pytest.raises(FileNotFoundError):
        IndexReader().read(video_info.packets, 12)


def test_a_reader_in_another_process_opens_the_files_itself(tmp_path: Path) -> None:
    with VideoInfoWriter(tmp_path) as writer:
        video_info = writer.add("a.mp4", FACTS, make_index(0))
    reader = IndexReader()
    assert_index(video_info, make_index(0), reader)
    copy = pickle.loads(pickle.dumps(reader))
    assert copy._files == {}
    del copy  # closes no file of the first
    assert_index(video_info, make_index(0), reader)


def test_of_many_scans_within_a_second_the_last_one_wins(tmp_path: Path) -> None:
    for number in range(30):
        with VideoInfoWriter(tmp_path) as writer:
            written = writer.add("a.mp4", FACTS, make_index(number))
    assert read_video_info(tmp_path) == {"a.mp4": written}


# Damage to a row of three -> what is left of them.
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "another number": lambda row: row.replace(b",12,", b",13,", 1),
    "negative": lambda row: row.replace(b",12,", b",-12,", 1),
    "huge": lambda row: row.replace(b",12,", b"," + b"9" * 5000 + b",", 1),
    "no number": lambda row: row.replace(b",12,", b",twelve,", 1),
    "empty": lambda row: row.replace(b",12,", b",,", 1),
    "NUL": lambda row: row.replace(b"h264", b"h2\0\0"),
    "binary": lambda row: bytes(range(128, 256)) + row[40:],
    "quote": lambda row: b'"' + row,
    "cut": lambda row: row[: len(row) // 2] + b"\r\n",
    "gone": lambda row: b"",
    "long": lambda row: b"x" * 200_000 + row,
    "health": lambda row: row.replace(b",ok,", b",fine,"),
}


@pytest.mark.parametrize("with_checksums", [True, False])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_row_is_left_out_and_no_other(
    damage: str, with_checksums: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with VideoInfoWriter(tmp_path) as writer:
        written = {f"{n}.mp4": writer.add(f"{n}.mp4", replace(FACTS, width=320 + n), make_index(n)) for n in range(4)}
    table = part_of(tmp_path, ".csv")
    head, *rows = table.read_bytes().splitlines(keepends=True)
    rows[2] = DAMAGES[damage](rows[2])
    table.write_bytes(head + b"".join(rows))
    if not with_checksums:
        if damage == "another number":
            return  # as an earlier version did, this is believed
        part_of(tmp_path, ".crc32").unlink()
    found = read_video_info(tmp_path)
    if damage == "quote":  # the cell that it opens does not end
        assert found == {name: written[name] for name in ("0.mp4", "1.mp4")}
        return
    assert found == {name: one for name, one in written.items() if name != "2.mp4"}
    said = r"\.csv: 1 rows are damaged or have lost their packet index; their videos are scanned again"
    assert damage == "gone" or re.search(said, caplog.text)


@pytest.mark.parametrize(
    ("lost", "said", "is_kept"),
    [
        ("head", r"\.csv: its first line is damaged or of another version", False),
        (".packets", r"\.csv: 1 rows are damaged or have lost their packet index", False),
        (".crc32", r"\.csv: its checksums \(\.crc32\) are gone; rows with possible values are believed", True),
    ],
)
def test_what_a_table_has_lost_is_named(
    lost: str, said: str, is_kept: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with VideoInfoWriter(tmp_path) as writer:
        written = {"a.mp4": writer.add("a.mp4", FACTS, make_index(0))}
    assert read_video_info(tmp_path) == written and not caplog.text
    if lost == "head":
        table = part_of(tmp_path, ".csv")
        table.write_bytes(table.read_bytes().split(b"\r\n", 1)[1])
    else:
        part_of(tmp_path, lost).unlink()
    assert read_video_info(tmp_path) == (written if is_kept else {})
    assert re.search(said, caplog.text)


def test_rows_that_are_there_twice_count_once(tmp_path: Path) -> None:
    with VideoInfoWriter(tmp_path) as writer:
        written = {"a.mp4": writer.add("a.mp4", FACTS, make_index(0))}
    table = part_of(tmp_path, ".csv")
    head, row = table.read_bytes().splitlines(keepends=True)
    table.write_bytes(head + row + row)
    assert read_video_info(tmp_path) == written


@pytest.mark.parametrize("at", [3, 20, -1])
def test_a_flipped_bit_in_an_index_is_noticed(at: int, tmp_path: Path) -> None:
    with VideoInfoWriter(tmp_path) as writer:
        video_info = writer.add("a.mp4", FACTS, make_index(0))
    packets = part_of(tmp_path, ".packets")
    data = bytearray(packets.read_bytes())
    data[at] ^= 4
    packets.write_bytes(data)
    assert video_info.packets is not None
    with pytest.raises(ValueError, match=r"\.packets: expected the index at 8 as written; scan again"):
        IndexReader().read(video_info.packets, 12)


def test_what_is_no_table_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    os.mkfifo(tmp_path / "fifo.csv")
    (tmp_path / "junk.csv").write_bytes(bytes(range(256)) * 100)
    (tmp_path / "dangling.csv").symlink_to("nowhere")
    assert read_video_info(tmp_path) == {}


# There is an index of 2 packets behind a codec header of 4 bytes.
TABLE = (
    "path (scan 2),num_frames,num_packets,width,height,rotation,codec,pix_fmt,matrix,colour_range,file_size,mtime_ns,"
    "health,num_frames_source,variable_rate,whole_file,packets_at,stub_at,stub_size,start,mirrored,pixel_width,pixel_height,"
    "stream,num_video_streams,notes,content,coded_width,coded_height,interlaced\r\n"
    "a.mp4,2,2,128,96,90,h264,yuv420p,bt709,limited,3754,1795819857326082400,ok,decode,no,,4,0,4,0,yes,16,15,1,2,,5,144,96,yes\r\n"
    '"b, c.avi",2,2,128,96,0,h264,yuv420p,bt709,limited,3754,1795819857326082400,"cut: packet 7, nothing",demux,yes,'
    '"no key, frame",-1,-1,0,512,no,1,1,0,1,"odd, but harmless",9223372036854775807,0,0,no\r\n'
    "d.mp4,0,0,0,0,0,,,untagged,untagged,9,0,bad: does not open,decode,no,it is bad,-1,-1,0,0,no,1,1,0,1,,0,0,0,no\r\n"
)
# As a hash, which no renaming of words changes in step with the code.
HEAD_HASH = "92d5b8f63274d97e"


def _facts(folder: Path) -> dict[str, VideoInfo]:
    indexed = make_video_info(num_frames=2, num_packets=2, rotation=90, matrix="bt709", whole_file="")
    cut = replace(indexed, rotation=0, health="cut: packet 7, nothing", num_frames_source="demux", variable_rate=True)
    shape = {"mirrored": True, "pixel_width": 16, "pixel_height": 15, "stream": 1, "num_video_streams": 2, "content": 5}
    shape |= {"coded_width": 144, "coded_height": 96, "interlaced": True}
    return {
        "a.mp4": replace(indexed, **shape, packets=PacketLocation(folder / "old.packets", 4, 0, 4)),
        "b, c.avi": replace(cut, whole_file="no key, frame", start=512, notes="odd, but harmless", content=2**63 - 1),
        "d.mp4": VideoInfo.bad("does not open", size=9),
    }


def test_a_table_is_read_and_would_be_written_the_same(tmp_path: Path) -> None:
    assert hashlib.sha256(TABLE.splitlines()[0].encode()).hexdigest()[:16] == HEAD_HASH
    (tmp_path / "old.csv").write_text(TABLE, newline="")
    index = make_index(0, 2, b"stub")
    (tmp_path / "old.packets").write_bytes(b"stub" + index.packets_P.tobytes())
    expected = _facts(tmp_path)
    assert read_video_info(tmp_path) == expected
    with VideoInfoWriter(tmp_path / "new") as writer:
        for name, video_info in expected.items():
            writer.add(name, video_info, index if video_info.packets else None)
    assert part_of(tmp_path / "new", ".csv").read_bytes().decode() == TABLE


def test_a_table_of_the_version_before_is_not_read_so_its_videos_are_scanned_again(tmp_path: Path) -> None:
    rows = [line.rsplit(",", 10)[0] for line in TABLE.splitlines() if "b, c" not in line]
    (tmp_path / "old.csv").write_text("\r\n".join([*rows, ""]), newline="")
    assert rows[0].endswith(",start") and rows[1].endswith(",0")
    assert read_video_info(tmp_path) == {}


@pytest.mark.parametrize("first", ["path", "path (scan 1)"])
def test_a_table_of_an_older_scan_is_not_read_though_its_columns_are_the_same(first: str, tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_text(TABLE.replace("path (scan 2)", first), newline="")
    assert read_video_info(tmp_path) == {}
