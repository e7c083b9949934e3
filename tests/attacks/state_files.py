"""Damage each file that a run, a scan or an export leaves, and start the command that reads it.

    python -m tests.attacks.state_files --count 400 --seed 0

A command must end in one sentence that names the file, or in the right result to the bit: kept indexes and tables are
made again, with a line that names them. Text files of a run (metrics, quarantine) have no checksum. If they differ,
nothing else may, and lines that are no lines of theirs must be told.
"""

from __future__ import annotations

import argparse
import os
import random
import stat
import sys
import tempfile
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.attacks.outcomes import KINDS, HangError, Outcome, deadline, report
from tests.attacks.state_readers import READERS, Read, Reader, build, restore

# Files whose content nothing else tells, so that another valid content is believed.
_TEXTS = ("metrics.jsonl", "quarantine.csv", "changes.jsonl", "evaluation_test_student_last.json")
# Damages that may leave a valid text.
_UNSEEN = ("flipped_bit", "cut", "emptied", "removed")
_STARTS_OVER = "last.pt"
_OPENS_WITHOUT_WAITING = "run.lock"  # for reading and writing


def flipped_bit(path: Path, rng: random.Random, good: Path) -> None:
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def cut(path: Path, rng: random.Random, good: Path) -> None:
    os.truncate(path, rng.randrange(path.stat().st_size))


def emptied(path: Path, rng: random.Random, good: Path) -> None:
    os.truncate(path, 0)


def zeros(path: Path, rng: random.Random, good: Path) -> None:
    data = bytearray(path.read_bytes())
    start = rng.randrange(len(data))
    size = min(rng.choice((1, 64, 4096)), len(data) - start)
    data[start : start + size] = bytes(size)
    path.write_bytes(data)


def garbage_behind(path: Path, rng: random.Random, good: Path) -> None:
    path.write_bytes(path.read_bytes() + rng.randbytes(rng.choice((1, 7, 300))))


def content_of_another(path: Path, rng: random.Random, good: Path) -> None:
    others = sorted(other for other in good.rglob("*") if other.is_file())
    path.write_bytes(rng.choice(others).read_bytes())


def deep_json(path: Path, rng: random.Random, good: Path) -> None:
    path.write_bytes(rng.choice((b"[", b'{"a":')) * 100_000)


def not_utf8(path: Path, rng: random.Random, good: Path) -> None:
    data = path.read_bytes()
    at = rng.randrange(len(data))
    path.write_bytes(data[:at] + b"\xff\xfe\x80" + data[at:])


def folder_there(path: Path, rng: random.Random, good: Path) -> None:
    path.unlink()
    path.mkdir()


def pipe_there(path: Path, rng: random.Random, good: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def dangling_link(path: Path, rng: random.Random, good: Path) -> None:
    path.unlink()
    path.symlink_to(path.parent / "nowhere" / "at all")


def link_to_itself(path: Path, rng: random.Random, good: Path) -> None:
    """The system refuses to open it, as it does a file without permission, which an administrator may open."""
    path.unlink()
    path.symlink_to(path.name)


def removed(path: Path, rng: random.Random, good: Path) -> None:
    path.unlink()


DAMAGES: Mapping[str, Callable[[Path, random.Random, Path], None]] = {
    function.__name__: function
    for function in (
        flipped_bit, cut, emptied, zeros, garbage_behind, content_of_another, deep_json, not_utf8, folder_there,
        pipe_there, dangling_link, link_to_itself, removed,
    )
}  # fmt: skip


@contextmanager
def opened_pipes(path: Path) -> Iterator[list[Path]]:
    """Yield a list that gets ``path`` when someone opens this pipe for reading, which would wait for ever.

    A writer is there at once, so the reader goes on; the list tells it without a clock.
    """
    found: list[Path] = []
    stopped = threading.Event()

    def watch() -> None:
        while not stopped.wait(0.002):
            try:
                writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:  # nobody reads, or no pipe any more
                continue
            if stat.S_ISFIFO(os.fstat(writer).st_mode):  # else a file has taken its place
                found.append(path)
            os.close(writer)

    thread = threading.Thread(target=watch, daemon=True)
    if path.is_fifo():
        thread.start()
    try:
        yield found
    finally:
        stopped.set()
        if thread.is_alive():
            thread.join()


def try_file(reader: Reader, path: Path, folder: Path, expected: Read, *, damage: str, cpu_seconds: float) -> Outcome:
    try:
        with opened_pipes(path) as opened, deadline(cpu_seconds):
            found = reader.read(folder)
    except HangError:
        return Outcome("hang", f"more than {cpu_seconds} s")
    except BaseException as error:  # what a command does not turn into a sentence
        return Outcome("traceback", f"{type(error).__name__}: {str(error)[:300]}")
    if opened and path.name != _OPENS_WITHOUT_WAITING:
        return Outcome("hang", "it waits at a pipe")
    return judge(path, found, expected, damage)


def judge(path: Path, found: Read, expected: Read, damage: str) -> Outcome:
    lines = [line for line in found.said.splitlines() if line.startswith("error: ")]
    names = (path.name, path.with_suffix("").name, str(path.parent), *map(str, path.parents[1:2]))
    names_it = any(name in found.said for name in names)
    if "fault of reskd" in found.said or "Traceback" in found.said:
        return Outcome("traceback", found.said[-400:])
    if found.code != 0:
        if found.code != 1 or len(lines) != 1 or not names_it:
            return Outcome("traceback", f"exit code {found.code} and no sentence about the file: {found.said[-400:]}")
        return Outcome("refused in a sentence", lines[0])
    differing = {key for key in found.parts.keys() | expected.parts.keys() if _differs(key, found, expected)}
    if not differing:
        return Outcome("worked", "" if names_it else "no word")
    if path.name == _STARTS_OVER and damage == "removed" and "last.pt: expected it beside" in found.said:
        return Outcome("worked", "started over")
    own = {path.name, "report.md"} if path.name in _TEXTS else set()
    if differing <= own and (names_it or damage in _UNSEEN):
        return Outcome("worked", "another valid text")
    return Outcome("silent change", f"{sorted(differing)} differ; said: {found.said[-300:]}")


def _differs(key: str, found: Read, expected: Read) -> bool:
    return found.parts.get(key) != expected.parts.get(key)


def attack(count: int, seed: int, folder: Path, *, cpu_seconds: float = 120) -> dict[str, list[Outcome]]:
    """Outcomes by command. The commands take turns, and so do the damages of each."""
    work, good = folder / "work", folder / "good"
    work.mkdir()
    build(work)
    restore(work, good)
    expected: dict[str, Read] = {}
    for reader in READERS:
        expected[reader.name] = reader.read(work)
        assert expected[reader.name].code == 0, expected[reader.name].said
        if reader.name == "resume":
            restore(work, folder / "expected")
        restore(good, work)
    outcomes = defaultdict(list)
    for number in range(count):
        rng = random.Random(f"{seed} {number}")
        reader = READERS[number % len(READERS)]
        damage = list(DAMAGES)[number // len(READERS) % len(DAMAGES)]
        path = rng.choice(reader.files(work))
        DAMAGES[damage](path, rng, good)
        outcome = try_file(reader, path, work, expected[reader.name], damage=damage, cpu_seconds=cpu_seconds)
        about = f"{number} ({reader.name}, {path.relative_to(work)}, {damage}): {outcome.about}"
        outcomes[reader.name].append(outcome._replace(about=about))
        restore(good, work)
    return dict(outcomes)


def table(outcomes: Mapping[str, list[Outcome]]) -> str:
    rows = [f"| command | tried | {' | '.join(KINDS)} |", "|---" * (len(KINDS) + 2) + "|"]
    for name, found in outcomes.items():
        counts = Counter(outcome.kind for outcome in found)
        rows.append(f"| {name} | {len(found)} | {' | '.join(str(counts[kind]) for kind in KINDS)} |")
    return "\n".join(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=400, help="damaged files (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcomes = attack(chosen.count, chosen.seed, Path(folder), cpu_seconds=30)
    text, code = report([outcome for found in outcomes.values() for outcome in found])
    print(table(outcomes), text, sep="\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
