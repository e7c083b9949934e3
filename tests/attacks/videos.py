"""Damaged videos of every container and codec through scan, loader, transcode and describe.

    python -m tests.attacks.videos --count 500 --seed 1

Each file must be refused with a reason or give FFmpeg's own frames: no traceback, no hang, no silent change. The files
are examined in child processes, as a decoder may crash; one that takes longer than SECONDS_A_FILE counts as a hang.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np

from dali_pipes.decode.pyav import Window, decode_frames, open_video, open_video_stream
from dali_pipes.loader.clip_reader import ClipReader
from dali_pipes.loader.decoder_choice import BY_PYAV
from dali_pipes.manifest.manifest import ManifestRow
from dali_pipes.sampling.clip_plan import ClipPlan
from dali_pipes.sampling.crops import Crop
from dali_pipes.scan.probe import Probed, probe
from dali_pipes.scan.store import VideoInfoWriter
from dali_pipes.transcode.encode import OutputSettings, reencode
from dali_pipes.video_info import VideoInfo
from tests.attacks.video_damage import HONESTLY_SHORTER, KINDS, Victim
from tests.conftest import SHARED_DATA
from tests.dali_pipes.damage import defined_frames
from tests.dali_pipes.streams import RECIPES, can_make, make
from tests.dali_pipes.unusual import NOT_CODED, cut_start, field_pairs, packed, with_drops

ROOT = Path(__file__).resolve().parents[2]
SECONDS_A_FILE = 60
_LARGEST_REAL, _MOST_COMPARED = 400_000, 60
Rng = np.random.Generator


def make_good_files(folder: Path, names: list[str] | None = None) -> None:
    """Make small videos of every recipe, unusual ones, and copy small real ones."""
    for name in names or RECIPES:
        if can_make(RECIPES[name]):
            make(RECIPES[name], folder, name.replace(" ", "_"))
    if names:
        return
    makers = {
        "packed": lambda where: packed(where, NOT_CODED),
        "drops": lambda where: with_drops(where, "mpeg4 avi no b", NOT_CODED),
        "open": lambda where: cut_start(where, "hevc mp4 open gop", 12),
        "start": lambda where: cut_start(where, "h264 ts", 5),
        "fields": field_pairs,
    }
    for name, maker in makers.items():
        with tempfile.TemporaryDirectory() as scratch:
            made = maker(Path(scratch))
            (folder / f"{name}{made.suffix}").write_bytes(made.read_bytes())
    for path in sorted((SHARED_DATA / "odd").glob("*")):
        if path.is_file() and path.stat().st_size < _LARGEST_REAL:
            (folder / path.name).write_bytes(path.read_bytes())


def reference(path: Path, window: Window | None) -> tuple[int, list[np.ndarray]]:
    """FFmpeg's own decode of all packets, up to the first error after a keyframe: number of frames, and the first ones.

    Args:
        window: makes a frame a picture; None: frames are only counted.
    """
    count, pictures, started = 0, list[np.ndarray](), False
    with open_video(path) as container:
        stream = open_video_stream(container)
        try:
            for packet in container.demux(stream):
                started = started or packet.is_keyframe
                try:
                    for frame in packet.decode():
                        count, started = count + 1, True
                        if window is not None and count <= _MOST_COMPARED:
                            pictures.append(window.cut(frame))
                except av.error.FFmpegError:
                    if started:
                        break
        except av.error.FFmpegError:
            pass
    return count, pictures


def examine(path: Path, num_before: int, *, may_be_shorter: bool, rng: Rng, scratch: Path) -> dict[str, Any]:
    """Read a damaged file in every way.

    Args:
        num_before: frames of the good file.
        may_be_shorter: the damage made a whole file of fewer frames.
    """
    found, quick = probe(path), probe(path, decode=False)
    health = found.video_info.health
    result = {"health": health, "whole_file": found.video_info.whole_file, "wrong": ""}
    transcoded = reencode(path, scratch / "new.mp4", OutputSettings(short_side=64))
    status = transcoded.status.partition(":")[0]
    if status != health.partition(":")[0] or (status != "bad" and transcoded.frames_out != found.video_info.num_frames):
        return {**result, "wrong": f"transcode: {transcoded}, scan: {health}, {found.video_info.num_frames} frames"}
    if not found.video_info.usable:
        return {**result, "wrong": "" if len(health) > 10 else f"no reason: {health}"}
    info = found.video_info
    size = (info.height, info.width) if info.rotation % 180 == 0 else (info.width, info.height)
    num_frames, frames = reference(path, Window((0, 0, *size), info.rotation, info.width, info.height))
    if num_frames < info.num_frames or (health == "ok" and num_frames != info.num_frames):
        return {**result, "wrong": f"{info.num_frames} frames, but FFmpeg decodes {num_frames}"}
    if health == "ok" and num_frames < num_before and not (may_be_shorter or "starts with" in result["whole_file"]):
        return {**result, "wrong": f"sound, but only {num_frames} of {num_before} frames are left"}
    for name, one in (("decode", found), ("index only", quick)):
        problem = _compare_clips(path, one, frames, rng, scratch / name) if one.video_info.usable else ""
        differs = found.packet_index is None or one.video_info.num_frames != found.video_info.num_frames
        if problem and name == "index only" and differs:
            result["unverified"] = problem  # a scan that decodes one frame cannot know
        elif problem:
            return {**result, "wrong": f"{name}: {problem}"}
    return result


def _compare_clips(path: Path, found: Probed, frames: list[np.ndarray], rng: Rng, store: Path) -> str:
    """Clips by packets and from the whole file are FFmpeg's frames; a clip that is refused changes nothing."""
    with VideoInfoWriter(store) as writer:
        row = ManifestRow(path, 0, writer.add("clip", *found))
    info = row.video_info
    numbers = np.arange(min(info.num_frames, len(frames)))
    for wanted_T in [np.unique(rng.choice(numbers, min(4, len(numbers)))) for _ in range(3)] + [numbers]:
        valid_T, all_T = np.ones(len(wanted_T), bool), np.arange(len(wanted_T), dtype=np.int32)
        crop = Crop(0, 0, *row.upright_size)
        plan = ClipPlan(0, 0, 0, wanted_T.astype(np.int32), valid_T, all_T, valid_T, crop, False)
        clips = []
        for sparse in (True, False):
            try:
                clips.append(ClipReader(BY_PYAV, sparse=sparse).read(plan, row).raw_THWC)
            except (ValueError, OSError) as error:
                if info.num_frames_source == "decode":
                    return f"sparse={sparse}: {error}"
        expected = np.stack([frames[number] for number in wanted_T])
        for clip in clips:
            differ = wanted_T[(clip != expected).any((1, 2, 3))]
            if len(differ) and not _are_undefined(path, differ, info):
                return f"frames {differ} of {wanted_T} are not those of FFmpeg"
    return ""


def _are_undefined(path: Path, numbers: np.ndarray, info: VideoInfo) -> bool:
    """Whether a decoder shows other pixels for each of these frames when its memory is not used again.

    FFmpeg shows what lay in memory where damaged HEVC and JPEG pictures have no data, and calls it no error.
    """
    size = (info.height, info.width) if info.rotation % 180 == 0 else (info.width, info.height)
    window = Window((0, 0, *size), info.rotation, info.width, info.height)
    shown = np.stack(decode_frames(path, np.arange(int(numbers.max()) + 1), window))
    return not defined_frames(path, shown, window)[numbers].any()


def run_one(good: list[tuple[Path, int]], folder: Path, seed: int, number: int) -> dict[str, Any]:
    rng = np.random.default_rng((seed, number))
    (source, num_before), (other, _) = (good[n] for n in rng.integers(0, len(good), 2))
    damage = KINDS[number % len(KINDS)]
    path = folder / f"{number:05d}{source.suffix}"
    damage(Victim(source, other), path, rng)
    may_be_shorter = damage.__name__ in HONESTLY_SHORTER
    with tempfile.TemporaryDirectory() as scratch:
        try:
            found = examine(path, num_before, may_be_shorter=may_be_shorter, rng=rng, scratch=Path(scratch))
        except Exception as error:  # anything that a caller would not expect
            found = {"health": "", "wrong": f"traceback: {type(error).__name__}: {error}"}
    return {"number": number, "source": source.name, "damage": damage.__name__[1:], **found}


def _child(good_folder: Path, out: Path, seed: int, first: int, last: int) -> None:
    av.logging.set_level(av.logging.PANIC)
    counts = json.loads((good_folder / "counts.json").read_text())
    good = [(good_folder / name, count) for name, count in counts.items()]
    for number in range(first, last):
        signal.alarm(SECONDS_A_FILE)
        print(json.dumps(run_one(good, out, seed, number)), flush=True)


def results_of(good_folder: Path, out: Path, seed: int, count: int) -> Iterator[dict[str, Any]]:
    """Damage and examine ``count`` files; one that ends its process is a result too, and the next ones go on."""
    good = sorted(path for path in good_folder.iterdir() if path.suffix != ".json")
    counts = {path.name: found.num_frames for path in good if (found := probe(path).video_info).usable}
    (good_folder / "counts.json").write_text(json.dumps(counts))
    done = 0
    while done < count:
        numbers = [str(seed), str(done), str(count)]
        command = [sys.executable, "-m", "tests.attacks.videos", "--child", str(good_folder), str(out), *numbers]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        for line in run.stdout.splitlines():
            if line.startswith('{"number"'):
                yield json.loads(line)
                done += 1
        if run.returncode:
            kind = "hang" if run.returncode == -signal.SIGALRM else f"traceback: exit {run.returncode}"
            yield {"number": done, "health": "", "wrong": f"{kind}: {run.stderr.strip()[-300:]}"}
            done += 1


def describe_all(folder: Path, scratch: Path) -> str:
    """Run describe on all damaged files; its fault, or ""."""
    command = [sys.executable, "tools/prepare_data.py", "describe", str(folder), "--out", str(scratch / "page")]
    command += ["--scan-cache", str(scratch / "scan"), "--workers", "1"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    if "Traceback" in run.stderr or run.returncode not in (0, 1) or (run.returncode and "error: " not in run.stderr):
        return f"describe: exit {run.returncode}: {run.stderr.strip()[-300:]}"
    return ""


def attack(count: int, seed: int, names: list[str] | None = None) -> tuple[Counter[str], list[str]]:
    """Totals, and a line for each failure."""
    totals, failures = Counter[str](), list[str]()
    with tempfile.TemporaryDirectory(prefix="attack_videos_") as scratch:
        good, out = Path(scratch, "good"), Path(scratch, "damaged")
        good.mkdir()
        out.mkdir()
        make_good_files(good, names)
        for result in results_of(good, out, seed, count):
            totals["tried"] += 1
            wrong = str(result["wrong"])
            if wrong:
                kind = wrong.partition(":")[0]
                totals[{"hang": "hangs", "traceback": "tracebacks"}.get(kind, "silent changes")] += 1
                failures.append(json.dumps(result))
                continue
            health = str(result["health"]).partition(":")[0]
            totals[{"ok": "worked", "cut": "cut with a reason", "bad": "refused in a sentence"}[health]] += 1
            totals["unverified by index-only scans"] += "unverified" in result
        fault = describe_all(out, Path(scratch))
        if fault:
            totals["tracebacks"] += 1
            failures.append(fault)
    return totals, failures


def main() -> int:
    if sys.argv[1:2] == ["--child"]:
        good, out, *numbers = sys.argv[2:]
        _child(Path(good), Path(out), *map(int, numbers))
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    totals, failures = attack(chosen.count, chosen.seed)
    for failure in failures:
        print(failure)
    named = ("tried", "refused in a sentence", "cut with a reason", "worked", "unverified by index-only scans")
    print(", ".join(f"{totals[name]} {name}" for name in (*named, "tracebacks", "hangs", "silent changes")))
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
