"""Videos of any orientation, pixel aspect, number of streams and name, whose right pixels are known.

    python -m tests.attacks.pictures --count 200 --seed 0

Each goes through both kinds of scan, describe, the loader at two views, transcode and predict, with the folder given as
a relative path. Silent changes are wrong pixels or facts, and a name that does not come back to the byte.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
import torch

from dali_pipes.config import DataConfig
from dali_pipes.decode.pyav import open_video, open_video_stream, output_frames, to_rgb
from dali_pipes.manifest.build import build_manifests
from dali_pipes.scan.store import read_video_info
from dali_pipes.transcode.journal import journal_path, read_journals
from reskd.inference.answers import VideoAnswer
from reskd.inference.student import load_trained_student
from reskd.inference.videos import answer_videos
from tests.dali_pipes.loaders import clip_loader
from tests.dali_pipes.shown_pictures import (
    MATRICES,
    ORIENTATIONS,
    Storing,
    prepare,
    set_display_matrix,
    what_is_wrong,
    write_frames,
)
from tests.tiny_student import write_checkpoint

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 600
SIZES = ((96, 128), (128, 96), (112, 112), (80, 176))
ASPECTS = (None, Fraction(1), Fraction(16, 15), Fraction(4, 3), Fraction(64, 45), Fraction(2), Fraction(3, 4))
# Suffix -> encoder, and whether a turn can be stored.
CONTAINERS = {
    ".mp4": ("libx264", True),
    ".mov": ("mpeg4", True),
    ".mkv": ("libx264", False),
    ".avi": ("mpeg4", False),
    ".ts": ("libx264", False),
    ".flv": ("libx264", False),
    ".wmv": ("mpeg4", False),
}
# Stems of names that FFmpeg, a shell, a CSV, a terminal or a file system takes for something else.
STEMS = (
    b"plain",
    b"12:30:05",
    b"concat:a|b",
    b"http:x",
    b"file:x",
    b"subfile,,start,1,end,2,,:x",
    b"img%03d",
    b"%s%n",
    b"*",
    b"a?[bc]{d,e}",
    b"-",
    b"--help",
    b"|ls",
    b"a,b\"c'd",
    b"back\\slash",
    b"new\nline",
    b"cr\r\nlf",
    b"{0}{name}",
    b"~",
    "line\u2028break".encode(),
    b"tab\tand\x1b[31mred",
    b" spaces ",
    b"dot.",
    b"CON",
    b"#1;x",
    b"$(id)`id`",
    b"caf\xe9",
    b"\xff\xfe\x80",
    "caf\u00e9".encode(),
    "cafe\u0301".encode(),
    "\U0001f3a5\u202e".encode(),
    b"x" * 255,
)


class Case(NamedTuple):
    """One video; ``name`` is relative to the root. ``decoy``: where a smaller stream lies, before or after, or none."""

    name: str
    storing: Storing
    decoy: str

    def describe(self) -> str:
        return f"{self.name!r} {self.storing} decoy {self.decoy or 'none'}"


def draw(count: int, seed: int) -> list[Case]:
    """``count`` cases; their names differ also without their suffix, and the first ones have one of ``STEMS`` each."""
    choose = random.Random(seed)
    stems = choose.sample(STEMS, len(STEMS))
    cases = []
    for number in range(count):
        suffix = choose.choice(list(CONTAINERS))
        turned = CONTAINERS[suffix][1]
        rotation, mirrored = choose.choice(ORIENTATIONS) if turned else (0, False)
        storing = Storing(*choose.choice(SIZES), rotation, mirrored, choose.choice(ASPECTS))
        stem = stems[number % len(stems)] + (b"%d" % number if number >= len(stems) else b"")
        name = stem[-255 + len(suffix) :] + suffix.encode()
        decoy = choose.choice(("", "", "after", "" if turned else "before"))
        cases.append(Case(os.fsdecode((b"plain/", b"cl:a|ss %d*[1] \xc3\xa9/")[number % 2] + name), storing, decoy))
    return cases


def write(case: Case, root: Path) -> None:
    """Write the video under its name, which FFmpeg never sees here."""
    target = root / case.name
    target.parent.mkdir(parents=True, exist_ok=True)
    plain = root / f"plain{target.suffix}"
    encoder = CONTAINERS[target.suffix][0]
    decoy = case.storing._replace(height=48, width=64)
    with av.open(str(plain), "w") as container:
        storings = {"": [case.storing], "after": [case.storing, decoy], "before": [decoy, case.storing]}[case.decoy]
        streams: list[Any] = [prepare(container.add_stream(encoder, rate=25), one) for one in storings]
        for stream, one in zip(streams, storings, strict=True):
            write_frames(container, stream, one)
    turn = MATRICES[case.storing.rotation, case.storing.mirrored]
    if turn != MATRICES[0, False]:
        set_display_matrix(plain, [value << 16 for value in turn])
    plain.rename(target)


class Fault(NamedTuple):
    """A failure: "tracebacks", "hangs" or "silent changes", and the sentence about it."""

    kind: str
    sentence: str


def run_tool(folder: Path, *arguments: str | Path, faults: list[Fault]) -> subprocess.CompletedProcess[bytes] | None:
    """Run a tool in ``folder``; None if it hangs."""
    command = [sys.executable, *map(os.fspath, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    try:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        faults.append(Fault("hangs", f"{arguments[0]} did not end in {TIMEOUT_S} s"))
        return None
    text = (done.stdout + done.stderr).decode("utf-8", "replace")
    if "Traceback" in text:
        faults.append(Fault("tracebacks", f"{arguments[0]} {arguments[1]}: {text[-600:]}"))
    elif done.returncode:
        faults.append(
            Fault("silent changes", f"{arguments[0]} {arguments[1]} ended with {done.returncode}: {text[-600:]}")
        )
    return done


def attack(cases: Sequence[Case], folder: Path, *, slow_tools: bool = True) -> list[Fault]:
    """Write the videos below ``folder`` and try everything on them; describe and predict.py take seconds to start."""
    root = folder / "da:ta"
    for case in cases:
        write(case, root)
    faults: list[Fault] = []
    tool = ROOT / "tools" / "prepare_data.py"
    for mode in ((), ("--index-only",)):
        store = folder / f"store{len(mode)}"
        run_tool(folder, tool, "scan", "da:ta", "--scan-cache", store, *mode, faults=faults)
        faults += check_facts(cases, store)
    if slow_tools:
        run_tool(folder, tool, "describe", "da:ta", "--out", folder / "page", faults=faults)
    run_tool(root, tool, "transcode", ".", "../new", "--quality", "12", faults=faults)
    faults += check_transcoded(cases, folder / "new")
    faults += check_loader(cases, root, folder / "store0")
    checkpoint = write_checkpoint(folder / "last.pt", data={"sampling": {"num_frames": 2, "test_crop_ratio": 1.0}})
    if slow_tools:
        faults += check_predict_tool(cases, root, checkpoint)
    faults += check_predict(cases, root, checkpoint)
    return faults


def check_facts(cases: Sequence[Case], store: Path) -> Iterator[Fault]:
    found = read_video_info(store)
    for case in cases:
        one = found.get(case.name)
        aspect = case.storing.pixel_aspect or Fraction(1)
        expected = (*case.storing[:4], aspect.numerator, aspect.denominator, "ok", 6)
        if one is None:
            yield Fault("silent changes", f"{store.name}: no row of {case.describe()}")
            continue
        facts = (one.height, one.width, one.rotation, one.mirrored, one.pixel_width, one.pixel_height, one.health)
        if (*facts, one.num_frames) != expected:
            yield Fault("silent changes", f"{store.name}: {facts}, {one.num_frames} frames of {case.describe()}")


def check_transcoded(cases: Sequence[Case], target: Path) -> Iterator[Fault]:
    outputs = {key[0]: record for key, record in read_journals(target).items()}
    assert journal_path(target, (1, 1)).exists()
    for case in cases:
        record = outputs.get(case.name)
        if record is None or record.status != "ok" or not (target / record.output).is_file():
            yield Fault("silent changes", f"transcode: {record and record.status} of {case.describe()}")
            continue
        with open_video(target / record.output) as container:
            frame = next(output_frames(container, open_video_stream(container)))
        wrong = what_is_wrong(to_rgb(frame, width=frame.width, height=frame.height))
        if wrong:
            yield Fault("silent changes", f"transcode: {wrong} in {case.describe()}")


def check_loader(cases: Sequence[Case], root: Path, store: Path) -> Iterator[Fault]:
    config = DataConfig.model_validate(
        {
            "root": root,
            "train": "folders",
            "val_fraction": 0,
            "scan_cache": store,
            "sampling": {"num_frames": 2, "test_crop_ratio": 1.0},
            "views": {"teacher": {"size": 64}, "student": {"size": 40, "source": "decoded"}},
            "loader": {"num_workers": 1, "num_threads": 1},
        }
    )
    manifest = build_manifests(config, seed=0, splits=("train",))["train"]
    known = {case.name: case for case in cases}
    if set(known) != {manifest.path(number) for number in range(len(manifest))}:
        yield Fault("silent changes", "loader: the manifest has other names")
    options = {"views": ("teacher", "student"), "mode": "eval", "batch_size": 4}
    with closing(clip_loader(manifest, config, **options)) as loader:
        for batch in loader:
            for index, row in enumerate(batch.positions_N.tolist()):
                if row < 0 or row >= len(manifest):
                    continue
                case = known[manifest.path(row)]
                if batch.substituted_N[index]:
                    yield Fault("silent changes", f"loader: a substitute for {case.describe()}")
                    continue
                for name, view in batch.views.items():
                    yield from _check_view(f"loader, {name}", view.data[index].numpy(), case)


def _check_view(where: str, frames_THWC: np.ndarray, case: Case) -> Iterator[Fault]:
    wrong = what_is_wrong(frames_THWC[-1], tolerance=0.2)
    if wrong:
        yield Fault("silent changes", f"{where}: {wrong} in {case.describe()}")


def check_predict_tool(cases: Sequence[Case], root: Path, checkpoint: Path) -> Iterator[Fault]:
    faults: list[Fault] = []
    done = run_tool(root, ROOT / "tools" / "predict.py", checkpoint, ".", "--json", faults=faults)
    yield from faults
    known = {os.fsencode(case.name) for case in cases}
    if done is not None:
        lines = [json.loads(line) for line in done.stdout.decode("utf-8").splitlines()]
        answered = {os.fsencode(line["file"]) for line in lines if "answers" in line}
        for name in known ^ answered:
            yield Fault("silent changes", f"predict --json: {name!r} is asked or answered, not both")


def check_predict(cases: Sequence[Case], root: Path, checkpoint: Path) -> Iterator[Fault]:
    known = {os.fsencode(case.name): case for case in cases}
    student = load_trained_student(checkpoint, torch.device("cpu"))
    for answer in answer_videos(student, [root / case.name for case in cases]):
        case = known[os.fsencode(os.path.relpath(answer.file, root))]
        if isinstance(answer, VideoAnswer):
            yield from _check_view("predict", answer.frames_THWC.numpy(), case)
        else:
            yield Fault("silent changes", f"predict: {answer.reason} of {case.describe()}")


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=60, help="videos (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="default %(default)s")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="reskd_attack_") as folder:
        faults = attack(draw(chosen.count, chosen.seed), Path(folder))
    counts = Counter(fault.kind for fault in faults)
    for fault in faults:
        print(f"{fault.kind}: {fault.sentence}".encode("utf-8", "backslashreplace").decode())
    print(
        f"pictures: {chosen.count} tried, 0 refused in a sentence, {chosen.count - len(faults)} worked, "
        f"{counts['tracebacks']} tracebacks, {counts['hangs']} hangs, {counts['silent changes']} silent changes"
    )
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
