from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dali_pipes import atomic_files
from dali_pipes.atomic_files import (
    atomic_folder,
    atomic_open,
    atomic_write_bytes,
    atomic_write_text,
    move_into_place,
)

ROOT = Path(__file__).parents[2]
# A writer that has written and not yet renamed: it says so, and waits.
WAITING_WRITER = """
import sys, time
from pathlib import Path
from dali_pipes.atomic_files import atomic_folder, atomic_open
target = Path(sys.argv[2])
with (atomic_folder if sys.argv[1] == "folder" else atomic_open)(target) as new:
    if sys.argv[1] == "folder":
        (new / "a").write_text("half")
    else:
        new.write(b"half")
        new.flush()
    print("written", flush=True)
    time.sleep(600)
"""


def start_waiting_writer(kind: str, target: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WAITING_WRITER, kind, str(target)]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert writer.stdout is not None and writer.stdout.readline() == "written\n"
    return writer


def kill(writer: subprocess.Popen[str]) -> None:
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert writer.stdout is not None
    writer.stdout.close()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_text_and_bytes_are_written_as_given(tmp_path: Path) -> None:
    atomic_write_text(tmp_path / "a", "caf\u00e9\r\n")
    atomic_write_text(tmp_path / "b", os.fsdecode(b"\xff"), errors="surrogateescape")
    atomic_write_bytes(tmp_path / "c", b"\0\n")
    assert [(tmp_path / name).read_bytes() for name in "abc"] == [b"caf\xc3\xa9\r\n", b"\xff", b"\0\n"]
    assert names(tmp_path) == ["a", "b", "c"]


def test_a_new_file_may_be_read_by_whom_any_new_file_may(tmp_path: Path) -> None:
    (tmp_path / "usual").write_text("")
    atomic_write_text(tmp_path / "new", "")
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_write_that_raises_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    atomic_write_text(target, "old")
    with pytest.raises(KeyError), atomic_open(target) as file:
        file.write(b"new")
        raise KeyError
    with pytest.raises(UnicodeEncodeError):
        atomic_write_text(target, "new \ud800")
    assert target.read_text() == "old" and names(tmp_path) == ["a.txt"]


def test_a_folder_is_whole_or_not_there(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    with pytest.raises(KeyError), atomic_folder(target) as new:
        (new / "a").write_text("half")
        raise KeyError
    assert names(tmp_path) == []
    with atomic_folder(target) as new:
        (new / "inner").mkdir()
        (new / "inner" / "a").write_text("whole")
        assert not target.exists()
    assert (target / "inner" / "a").read_text() == "whole"
    with pytest.raises(OSError, match="not empty"), atomic_folder(target) as new:
        (new / "b").write_text("other")
    assert names(tmp_path) == ["folder"] and names(target) == ["inner"]
    with atomic_folder(target, replace=True) as new:
        (new / "b").write_text("other")
        assert names(target) == ["inner"]
    assert names(tmp_path) == ["folder"] and names(target) == ["b"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_killed_writer_leaves_the_old_content_and_the_next_write_cleans_up(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "a.txt"
    if kind == "file":
        target.write_text("old")
    kill(start_waiting_writer(kind, target))
    assert len(names(tmp_path)) == (2 if kind == "file" else 1)
    assert not target.exists() or target.read_text() == "old"
    if kind == "file":
        atomic_write_text(target, "new")
    else:
        with atomic_folder(target) as new:
            (new / "a").write_text("whole")
    assert names(tmp_path) == ["a.txt"]


def test_what_living_writers_and_other_machines_have_begun_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    elsewhere = tmp_path / ".a.txt.another-machine-1-abcdef.tmp"
    of_another_target = tmp_path / f".b.txt.{socket.gethostname()}-{2**22 + 1}-abcdef.tmp"
    for path in (elsewhere, of_another_target):
        path.write_text("half")
    writer = start_waiting_writer("file", target)
    try:
        atomic_write_text(target, "new")
        assert target.read_text() == "new" and len(names(tmp_path)) == 4
    finally:
        kill(writer)
    atomic_write_text(target, "newer")
    assert names(tmp_path) == sorted(("a.txt", elsewhere.name, of_another_target.name))


def test_of_writers_at_the_same_time_one_wins_and_every_reader_sees_a_whole_file(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    contents = [str(number) * 50_000 for number in range(4)]
    atomic_write_text(target, contents[0])

    def write(content: str) -> None:
        for _ in range(10):
            atomic_write_text(target, content)

    writers = [threading.Thread(target=write, args=(content,)) for content in contents]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert target.read_text() in contents
    for writer in writers:
        writer.join()
    assert target.read_text() in contents and names(tmp_path) == ["a.txt"]


def test_the_file_is_flushed_before_it_gets_its_name_and_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, events = tmp_path / "a.txt", []

    def fsync(descriptor: int) -> None:
        events.append((Path(f"/proc/self/fd/{descriptor}").resolve() == tmp_path, target.exists()))

    monkeypatch.setattr(atomic_files.os, "fsync", fsync)
    atomic_write_text(target, "new")
    assert events == [(False, False), (True, True)]


def test_a_file_with_a_name_of_its_own_is_moved_into_place(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    (tmp_path / "a.part").write_text("new")
    move_into_place(tmp_path / "a.part", tmp_path / "a")
    assert (tmp_path / "a").read_text() == "new" and names(tmp_path) == ["a"]


def test_a_name_as_long_as_a_name_may_be_can_be_written(tmp_path: Path) -> None:
    target = tmp_path / ("y" * 255)
    kill(start_waiting_writer("file", target))
    atomic_write_text(target, "new")
    assert names(tmp_path) == [target.name]


# A child process whose files may not grow over 3,000 bytes: its writes fail as on a full disk, with EFBIG.
LIMITED = """
import resource, signal, sys
from pathlib import Path
from dali_pipes.atomic_files import *
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, resource.RLIM_INFINITY))
folder = Path(sys.argv[1])
try:
    exec(sys.argv[2])
except DiskFullError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("statement", "needed"),
    [
        ("atomic_write_bytes(folder / 'a.txt', bytes(5000))", " of 5,000 bytes"),
        ("atomic_write_text(folder / 'a.txt', 'x' * 5000)", " of 5,000 bytes"),
        ("[file.write(bytes(5000)) for file in [target.__enter__()]]; target.__exit__(None, None, None)", ""),
        ("append_whole(folder / 'a.txt', bytes(5000))", " of 5,000 bytes"),
        (
            "folder_target = atomic_folder(folder / 'a.txt', replace=True); new = folder_target.__enter__()\n"
            "try: (new / 'part').write_bytes(bytes(5000))\n"
            "except OSError: folder_target.__exit__(*sys.exc_info())",
            "",
        ),
    ],
)
def test_a_full_disk_is_a_sentence_and_the_old_file_stays(statement: str, needed: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    program = LIMITED.replace("try:\n    exec", "target = atomic_open(folder / 'a.txt')\ntry:\n    exec")
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), statement], cwd=ROOT, capture_output=True, text=True, check=True
    )
    start = f"{tmp_path / 'a.txt'}: expected room to write this file{needed}, but the largest size of a file is reached"
    assert done.stdout.startswith(start) and done.stdout.endswith("make room and run the same command again.\n")
    assert " bytes are free" in done.stdout
    content = (tmp_path / "a.txt").read_bytes()
    assert content.startswith(b"old") and (content == b"old" or statement.startswith("append"))
    assert names(tmp_path) == ["a.txt"]


def test_other_faults_of_the_system_keep_their_words(tmp_path: Path) -> None:
    with pytest.raises(PermissionError, match="no"), atomic_files.full_disk_named(tmp_path / "a"):
        raise PermissionError(13, "no")
    full = r"a: expected .* 7 bytes, but your disk quota is used up"
    with (
        pytest.raises(atomic_files.DiskFullError, match=full),
        atomic_files.full_disk_named(tmp_path / "a", needed_bytes=7),
    ):
        raise OSError(122, "Disk quota exceeded")


def test_leftovers_of_a_folder_are_those_of_ended_writers_here_and_of_named_targets(tmp_path: Path) -> None:
    writer = start_waiting_writer("file", tmp_path / "last.pt")
    assert atomic_files.remove_leftovers(tmp_path) == []  # it lives
    kill(writer)
    elsewhere = [".last.pt.node-7.x-12-abcdef.tmp", ".notes.txt.node7-12-abcdef.tmp", ".notes.txt", "a.tmp"]
    for name in elsewhere:
        (tmp_path / name).write_text("")
    (mine,) = atomic_files.remove_leftovers(tmp_path)
    assert mine.startswith(f".last.pt.{socket.gethostname()}-{writer.pid}-")
    assert atomic_files.remove_leftovers(tmp_path, of_any_machine=["last.pt"]) == elsewhere[:1]
    assert names(tmp_path) == sorted(elsewhere[1:])
    assert atomic_files.remove_leftovers(tmp_path / "none") == []
