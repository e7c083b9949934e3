"""Attack the reading of lists: good ones of every format in random variations, and damaged ones.

    python -m tests.attacks.lists --count 60 --seed 0

A good list must give the paths and labels that it was made of; a damaged one must be refused in a sentence that names
the file, or give what it holds. Every ``--every``-th list is also given to ``tools/prepare_data.py scan``.
"""

from __future__ import annotations

import argparse
import csv
import io
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from dali_pipes.annotations.lists import class_names_of, label_videos, parse_list

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_SECONDS = 600
Rows = list[tuple[str, str]]


class Case(NamedTuple):
    """A list. ``expected``: path -> class name, or None if it must be refused."""

    kind: str
    name: str
    content: bytes
    expected: dict[str, str] | None


def _rows(rng: random.Random, *, depth: bool = True) -> Rows:
    """Paths in class folders, and their classes."""
    classes = rng.sample(
        ["Run", "Jump High", "2019", "swim_far", "Tai-Chi", "\u00e9t\u00e9", "01", "1"], rng.randint(2, 5)
    )
    suffix = rng.choice([".avi", ".mp4", ".MTS", ".3gp", ".webm"])
    middle = rng.choice(["v_{}_g01_c{}", "clip {} {}", "a, {}-{}", "{}.{}"])
    rows = [
        (f"{name}/{middle.format(name.replace(' ', ''), number)}{suffix}", name)
        for name in classes
        for number in range(rng.randint(2, 4))
    ]
    rng.shuffle(rows)
    return rows if depth else [(f"videos/{number}{suffix}", name) for number, (_, name) in enumerate(rows)]


def _encode(rng: random.Random, text: str) -> bytes:
    """The same text in another encoding, with other line ends, empty lines or comments."""
    if rng.random() < 0.3:
        text = text.replace("\n", "\n\n", 2)
    if rng.random() < 0.5:
        text = text.replace("\n", "\r\n")
    return text.encode(rng.choice(["utf-8", "utf-8", "utf-8-sig", "utf-16"]))


def _numbered(rows: Rows) -> dict[str, int]:
    return {name: number for number, name in enumerate(sorted({name for _, name in rows}))}


def _csv(rows: list[tuple[str, ...]], header: tuple[str, ...], delimiter: str) -> str:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    writer.writerows([header, *rows])
    return text.getvalue()


def ours(rng: random.Random) -> Case:
    rows = _rows(rng)
    header = rng.choice([("path", "label"), ("Path", "LABEL"), (" path", "label ")])
    names = {label: f"{label} x" for _, label in rows}  # so that none is a number
    text = _csv([(path, names[label]) for path, label in rows], header, rng.choice([",", ";", "\t"]))
    return Case("csv", "list.csv", _encode(rng, text), {path: names[label] for path, label in rows})


def ucf(rng: random.Random) -> Case:
    rows = _rows(rng)
    numbers = _numbered(rows)
    numbered = rng.random() < 0.7
    text = "".join(f"{path} {numbers[label] + 1}\n" if numbered else f"{path}\n" for path, label in rows)
    return Case("ucf", "trainlist01.txt", _encode(rng, text), dict(rows))


def numbers(rng: random.Random) -> Case:
    rows = _rows(rng, depth=False)
    of_class = _numbered(rows)
    form = rng.choice(["{} {}", "{},{}", "{}\t{}", "{};{}", '"{}" {}', "{}, {}"])
    text = "".join(form.format(path, of_class[label]) + "\n" for path, label in rows)
    name = rng.choice(["train.txt", "train.csv"])
    return Case("numbers", name, _encode(rng, text), {path: str(of_class[label]) for path, label in rows})


def frames(rng: random.Random) -> Case:
    rows = [(f"frames/{number:05d}", label) for number, (_, label) in enumerate(_rows(rng))]
    of_class = _numbered(rows)
    text = "".join(f"{path} {rng.randint(20, 300)} {of_class[label]}\n" for path, label in rows)
    return Case("frames", "rawframes.txt", _encode(rng, text), {path: str(of_class[label]) for path, label in rows})


def names(rng: random.Random) -> Case:
    rows = _rows(rng, depth=False)
    names = {label: f"{label} x" for _, label in rows}
    form = rng.choice(["{}\t{}", "{},{}", "{};{}", "{} {}"])
    text = "".join(form.format(path, names[label]) + "\n" for path, label in rows)
    return Case("names", "list.txt", _encode(rng, text), {path: names[label] for path, label in rows})


def kinetics(rng: random.Random) -> Case:
    rows = [(f"{'abcdefghijk'[n % 11]}{n:010d}", label) for n, (_, label) in enumerate(_rows(rng))]
    cells = [(label, name, str(n), str(n + 10), "train") for n, (name, label) in enumerate(rows)]
    text = _csv(cells, ("label", "youtube_id", "time_start", "time_end", "split"), ",")
    expected = {f"{label}/{name}_{n:06d}_{n + 10:06d}.mp4": label for n, (name, label) in enumerate(rows)}
    return Case("kinetics", "kinetics.csv", _encode(rng, text), expected)


def damaged(rng: random.Random) -> Case:
    """A list with one fault that must be refused."""
    lines = [f"videos/{n}.mp4,run x" for n in range(6)]
    at = rng.randrange(1, 6)
    faults: dict[str, Callable[[], bytes]] = {
        "surplus cell": lambda: _lines([*lines[:at], lines[at] + ", fast", *lines[at:][1:]]),
        "line break in a path": lambda: _lines([*lines[:at], f'"videos/\n{at}.mp4",run', *lines[at:][1:]]),
        "open quote": lambda: _lines([*lines[:at], f'"videos/{at}.mp4,run', *lines[at:][1:]]),
        "no label": lambda: _lines([*lines[:at], f"videos/{at}.mp4,", *lines[at:][1:]]),
        "listed twice": lambda: _lines([*lines, lines[at]]),
        "spelled in two ways": lambda: _lines([*lines, "./x/../" + lines[at]]),
        "header twice": lambda: b"path,label,label\n" + _lines(lines)[11:],
        "no such columns": lambda: b"file,class\n" + _lines(lines)[11:],
        "NUL": lambda: _lines(lines)[:-5] + b"\0" + _lines(lines)[-5:],
        "UTF-16 without a mark": lambda: _lines(lines).decode().encode("utf-16-le"),
        "cut UTF-16": lambda: _lines(lines).decode().encode("utf-16")[:-1],
        "Latin-1 label": lambda: _lines([*lines, "videos/e.mp4,\u00e9"]).decode().encode("latin-1"),
        "huge number": lambda: _lines([*_years(0), f"videos/x.mp4,{'9' * rng.choice([8, 30, 6000])}"]),
        "year as a number": lambda: _lines(_years(2015)),
        "JSON": lambda: b'[{"id": "1", "label": "x"}]\n',
        "empty": lambda: rng.choice([b"", b"\n\n", b"path,label\n", b"\xef\xbb\xbf"]),
        "binary": lambda: rng.randbytes(400) + b"\0",
    }  # fmt: skip
    kind = rng.choice(sorted(faults))
    return Case(f"damaged: {kind}", "list.txt" if kind == "JSON" else "list.csv", faults[kind](), None)


def damaged_lines(rng: random.Random) -> Case:
    """A list without a header, with one fault."""
    lines = [f"videos/{n}.mp4 {n % 3}" for n in range(12)]
    at = rng.randrange(1, 12)
    faults = {
        "no number": [*lines[:at], f"videos/{at}.mp4", *lines[at + 1 :]],
        "negative": [*lines[:at], f"videos/{at}.mp4 -1", *lines[at + 1 :]],
        "fraction": [*lines[:at], f"videos/{at}.mp4 0.5", *lines[at + 1 :]],
        "two numbers each": [f"{line} {n}" for n, line in enumerate(lines, 5)],
        "offset or classes": [f"folder{n} 1 {n + 20} {n % 3}" for n in range(12)],
        "number twice": [*lines, "videos/x.mp4 1 1"],
        "no path": [*lines, '"" 3'],
        "flat without a number": [f"{n}.mp4" for n in range(4)],
        "wrong number of a folder": [*(f"{'ab'[n % 2]}/{n}.avi {n % 2 + 1}" for n in range(30)), "a/x.avi 2"],
    }
    kind = rng.choice(sorted(faults))
    return Case(f"damaged: {kind}", "list.txt", ("\n".join(faults[kind]) + "\n").encode(), None)


def _years(first: int) -> list[str]:
    return [f"videos/{number}.mp4,{first + number}" for number in range(5)]


def _lines(lines: list[str]) -> bytes:
    return ("path,label\n" + "\n".join(lines) + "\n").encode()


KINDS = (ours, ucf, numbers, frames, names, kinetics, damaged, damaged_lines, damaged)


def attack(case: Case, folder: Path) -> str:
    """The outcome: "worked", "refused", or what is wrong."""
    (folder / case.name).write_bytes(case.content)
    if case.kind == "kinetics":
        for path in case.expected or {}:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).touch()
    try:
        parsed = parse_list(folder, case.name)
        class_names = class_names_of(parsed.videos, lambda number: f"{case.name}{parsed.place(number)}")
        labeled = label_videos(parsed.videos, class_names, group_pattern=None, source=case.name, by_number=False)
    except ValueError as error:
        if case.expected is not None:
            return f"silent change: a good list is refused: {error}"
        return "refused" if case.name in str(error) and "\n" not in str(error) else f"traceback: no sentence: {error!r}"
    except Exception as error:
        return f"traceback: {error!r}"
    found = {video.path: class_names[video.label] for video in labeled}
    if case.expected is None:
        return f"silent change: taken as {list(found.items())[:4]}"
    return "worked" if found == case.expected else f"silent change: {list(found.items())[:4]}"


def scan(case: Case, folder: Path) -> str:
    """The outcome of ``prepare_data.py scan``, for a list that ``attack`` has written."""
    for number, path in enumerate(case.expected or {}):
        is_folder = case.kind == "frames"
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).mkdir() if is_folder else (folder / path).write_bytes(b"no video" + bytes([number]))
    command = [sys.executable, "tools/prepare_data.py", "scan", str(folder), "--list", case.name, "--workers", "1"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        return "hang"
    if "Traceback" in done.stderr or done.returncode not in (0, 1):
        return f"traceback: {done.stderr[-300:]}"
    # Numbers are judged where class names are made; a scan needs paths only.
    if case.expected is not None and f"{len(case.expected)} files" not in done.stdout:
        return f"silent change: {done.stdout[-200:]} {done.stderr[-200:]}"
    return "worked" if done.returncode == 0 else "refused"


def run(count: int, seed: int, every: int) -> tuple[Counter[str], list[str]]:
    """Attack with ``count`` lists; returns the outcomes by kind, and a line for each failure."""
    totals, failures = Counter[str](), []
    for number in range(count):
        case = KINDS[number % len(KINDS)](random.Random(f"{seed}/{number}"))
        with tempfile.TemporaryDirectory() as folder:
            outcomes = [attack(case, Path(folder))]
            if every and number % every == 0:
                outcomes.append(scan(case, Path(folder)))
        for outcome in outcomes:
            kind = outcome.partition(":")[0]
            totals[kind] += 1
            if kind not in ("worked", "refused"):
                failures.append(f"seed {seed}, list {number} ({case.kind}): {outcome}")
    return totals, failures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=60, help="number of lists (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=int, default=7, help="scan every n-th list as a user would; 0: none")
    chosen = parser.parse_args()
    totals, failures = run(chosen.count, chosen.seed, chosen.every)
    print(
        f"tried {totals.total()}, refused in a sentence {totals['refused']}, worked {totals['worked']}, "
        f"tracebacks {totals['traceback']}, hangs {totals['hang']}, silent changes {totals['silent change']}"
    )
    print("\n".join(failures), end="\n" if failures else "")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
