"""Damages files and looks at what reading them gives; run as a program by test_damaged_files.py, as it may crash.

    python -m tests.dali_pipes.damage FOLDER SEED FIRST LAST

prints a line of JSON for each file it damages. FOLDER holds the good files. A file that takes longer than
``SECONDS_A_FILE`` ends the process by SIGALRM.
"""

from __future__ import annotations

import io
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np

from dali_pipes.decode.pyav import Window, decode_frames, open_video, open_video_stream, output_frames
from dali_pipes.decode.remux import remux
from dali_pipes.loader.clip_reader import SPARSE, ClipReader
from dali_pipes.loader.decoder_choice import DecoderRule
from dali_pipes.manifest.manifest import ManifestRow
from dali_pipes.packets.packet_index import PacketIndex, read_packets, select
from dali_pipes.sampling.clip_plan import ClipPlan
from dali_pipes.sampling.crops import Crop
from dali_pipes.scan.scan import probe
from dali_pipes.scan.store import VideoInfoWriter

SECONDS_A_FILE = 30
Rng = np.random.Generator


def _cut(data: bytearray, rng: Rng) -> bytearray:
    return data[: rng.integers(0, len(data))]


def _flip(data: bytearray, rng: Rng) -> bytearray:
    for offset in rng.integers(0, len(data), rng.choice([1, 1, 3, 30])):
        data[offset] ^= int(rng.integers(1, 256))
    return data


def _flip_header(data: bytearray, rng: Rng) -> bytearray:
    """In the first or last kilobyte, where headers and tables lie."""
    offset = int(rng.integers(0, min(1024, len(data))))
    data[offset if rng.random() < 0.5 else -1 - offset] ^= int(rng.integers(1, 256))
    return data


def _zeros(data: bytearray, rng: Rng) -> bytearray:
    offset = int(rng.integers(0, len(data)))
    length = min(int(rng.choice([1, 4, 64, 1000, 8000])), len(data) - offset)
    data[offset : offset + length] = bytes(length)
    return data


def _swap(data: bytearray, rng: Rng) -> bytearray:
    length = int(rng.integers(1, max(2, len(data) // 4)))
    one, other = (int(offset) for offset in rng.integers(0, max(1, len(data) - length), 2))
    held = bytes(data[one : one + length])
    data[one : one + length] = data[other : other + length]
    data[other : other + length] = held
    return data


def _insert(data: bytearray, rng: Rng) -> bytearray:
    offset = int(rng.integers(0, len(data)))
    data[offset:offset] = rng.bytes(int(rng.integers(1, 200)))
    return data


def _remove(data: bytearray, rng: Rng) -> bytearray:
    offset = int(rng.integers(0, len(data)))
    del data[offset : offset + int(rng.integers(1, 2000))]
    return data


def _header_only(data: bytearray, rng: Rng) -> bytearray:
    return data[: int(rng.choice([1, 4, 16, 64, 256, 700]))]


def _append(data: bytearray, rng: Rng) -> bytearray:
    return data + (rng.bytes(int(rng.integers(1, 5000))) if rng.random() < 0.5 else data)


def _text(data: bytearray, rng: Rng) -> bytearray:
    return bytearray(b"this is a list of videos\n" * int(rng.integers(1, 200)))


DAMAGES: tuple[Callable[[bytearray, Rng], bytearray], ...] = (
    _cut,
    _flip,
    _flip,
    _flip,
    _flip_header,
    _flip_header,
    _zeros,
    _swap,
    _insert,
    _remove,
    _header_only,
    _append,
    _text,
)


def flip_used(path: Path, index: PacketIndex, wanted_T: np.ndarray, rng: Rng) -> None:
    """Change one byte of a packet that the wanted frames need."""
    selection = select(index.packets_P, wanted_T, may_flush=True)
    chosen = int(rng.integers(0, len(selection.position_K)))
    data = bytearray(path.read_bytes())
    data[int(selection.position_K[chosen] + rng.integers(0, selection.size_K[chosen]))] ^= int(rng.integers(1, 256))
    path.write_bytes(data)


def check(path: Path, store: Path, rng: Rng, *, decode: bool) -> dict[str, object]:
    """What a file gave: ``wrong`` names what must never be; empty where all is well."""
    video_info, index = probe(path, decode=decode)
    result: dict[str, object] = {
        "health": video_info.health,
        "whole_file": video_info.whole_file,
        "decode": decode,
        "wrong": "",
    }
    if not video_info.usable:
        reason = video_info.health.partition(": ")[2]
        return {**result, "wrong": "" if len(reason) > 5 else f"no reason: {video_info.health!r}"}
    if video_info.whole_file and index is not None:
        return {**result, "wrong": "an index and a reason to have none"}
    with VideoInfoWriter(store) as writer:
        row = ManifestRow(path, 0, writer.add("clip", video_info, index))
    window = Window((0, 0, *row.upright_size), video_info.rotation, video_info.width, video_info.height)
    shown = min(video_info.num_frames, 60)
    whole, whole_fault, defined = None, "", np.ones(shown, bool)
    try:
        whole = np.stack(decode_frames(path, np.arange(shown), window))
        defined = defined_frames(path, whole, window)
    except ValueError as error:
        whole_fault = str(error)
        if decode:
            return {**result, "wrong": f"a scanned frame does not come out of the whole file: {error}"}
    wanted_sets = [np.unique(rng.integers(0, shown, rng.integers(1, 5))) for _ in range(4)]
    how: list[int] = []
    for wanted_T in [*wanted_sets, np.arange(shown)]:
        wanted_T = wanted_T[defined[wanted_T]]
        problem = _compare(row, index, wanted_T, window, whole, how) if len(wanted_T) else ""
        if problem and not decode and probe(path).packet_index is None:
            return {**result, "undecoded": problem}  # what a scan that looks at one frame cannot know
        if problem:
            return {**result, "wrong": problem, "whole_fault": whole_fault}
    wanted_T = wanted_sets[0][defined[wanted_sets[0]]]
    wrong = ""
    if decode and index is not None and len(wanted_T):
        wrong = _check_changed(path, row, index, wanted_T, whole, rng)
    num_undefined = int((~defined).sum())
    return {**result, "wrong": wrong, "how": how, "whole_fault": whole_fault, "undefined": num_undefined}


def defined_frames(path: Path, whole: np.ndarray, window: Window) -> np.ndarray:
    """bool (T,): False where a decoder whose frames are all kept, so that each gets new memory, gives another picture.

    FFmpeg shows what lay in memory where damaged HEVC and JPEG pictures have no data, and calls it no error.
    """
    kept, defined = [], np.zeros(len(whole), bool)
    with open_video(path) as container:
        for number, frame in zip(
            range(len(whole)), output_frames(container, open_video_stream(container)), strict=False
        ):
            kept.append(frame)
            defined[number] = np.array_equal(window.cut(frame), whole[number])
    return defined


def _plan(wanted_T: np.ndarray, row: ManifestRow) -> ClipPlan:
    valid_T = np.ones(len(wanted_T), bool)
    numbers_T, all_T = wanted_T.astype(np.int32), np.arange(len(wanted_T), dtype=np.int32)
    return ClipPlan(0, 0, 0, numbers_T, valid_T, all_T, valid_T, Crop(0, 0, *row.upright_size), False)


def _compare(
    row: ManifestRow,
    index: PacketIndex | None,
    wanted_T: np.ndarray,
    window: Window,
    whole: np.ndarray | None,
    how: list[int],
) -> str:
    for sparse in (True, False):
        try:
            clip = ClipReader(DecoderRule("cpu", "auto"), sparse=sparse).read(_plan(wanted_T, row), row, by_pyav=True)
        except (ValueError, OSError) as error:
            if whole is not None:
                return f"sparse={sparse}: {type(error).__name__} {error}; the whole file gives frames {wanted_T}"
            continue
        how.append(clip.how)
        if whole is not None and not np.array_equal(clip.raw_THWC, whole[wanted_T]):
            different = [int(n) for n, one in zip(wanted_T, clip.raw_THWC, strict=True) if (one != whole[n]).any()]
            return f"sparse={sparse}, how {clip.how}: frames {different} of {wanted_T} differ from the whole file's"
    if (
        index is None
        or whole is None
        or row.video_info.num_frames_source != "decode"
        or row.video_info.num_frames != len(index.packets_P)
    ):
        return ""  # then DALI gets the whole file, or what it shows is not known to be whole
    return _compare_remuxed(row, index, wanted_T, window, whole)


def _compare_remuxed(
    row: ManifestRow, index: PacketIndex, wanted_T: np.ndarray, window: Window, whole: np.ndarray
) -> str:
    selection = select(index.packets_P, wanted_T, may_flush=False)
    with row.path.open("rb") as file:
        encoded = remux(index.codec_header, read_packets(file, selection), selection)
    try:
        frames = np.stack(decode_frames(io.BytesIO(encoded.tobytes()), selection.rank_T, window))
    except (ValueError, av.error.FFmpegError) as error:
        return f"remuxed: {error}"
    return "" if np.array_equal(frames, whole[wanted_T]) else f"remuxed: frames of {wanted_T} differ"


def _check_changed(
    path: Path, row: ManifestRow, index: PacketIndex, wanted_T: np.ndarray, whole: np.ndarray | None, rng: Rng
) -> str:
    """Change the file after its scan: the frames that were scanned, or a fault with a name."""
    good = path.read_bytes()
    for change in ("flip", "cut", "replace", "vanish", "directory", "grow", "zero"):
        if change == "flip":
            flip_used(path, index, wanted_T, rng)
        elif change == "cut":
            path.write_bytes(good[: len(good) // 2])
        elif change == "replace":
            path.write_bytes(rng.bytes(len(good)))
        elif change == "zero":
            path.write_bytes(bytes(len(good)))
        elif change == "grow":
            path.write_bytes(good + b"x")
        else:
            path.unlink()
            if change == "directory":
                path.mkdir()
        try:
            clip = ClipReader(DecoderRule("cpu", "auto")).read(_plan(wanted_T, row), row, by_pyav=True)
            exact = whole is not None and np.array_equal(clip.raw_THWC, whole[wanted_T])
            problem = "" if exact and clip.how == SPARSE and change != "flip" else f"{change} was not noticed"
        except (ValueError, OSError) as error:
            problem = "" if len(str(error)) > 10 else f"{change}: {error!r}"
        if path.is_dir():
            path.rmdir()
        path.write_bytes(good)
        if problem:
            return problem
    return ""


def run_one(good: list[Path], folder: Path, seed: int, number: int) -> dict[str, object]:
    rng = np.random.default_rng((seed, number))
    source = good[int(rng.integers(0, len(good)))]
    damage = DAMAGES[int(rng.integers(0, len(DAMAGES)))]
    path = folder / f"damaged{source.suffix}"
    path.write_bytes(damage(bytearray(source.read_bytes()), rng))
    if damage.__name__ == "_cut" and rng.random() < 0.3:  # another file in its place, whatever the name says
        shutil.copy(good[int(rng.integers(0, len(good)))], path)
    try:
        found = check(path, folder / "store", rng, decode=bool(rng.random() < 0.7))
    except Exception as error:  # anything that a caller would not expect
        found = {"wrong": f"{type(error).__name__}: {error}"}
    shutil.rmtree(folder / "store", ignore_errors=True)
    return {"number": number, "source": source.name, "damage": damage.__name__[1:], **found}


def main() -> None:
    good_folder, seed, first, last = Path(sys.argv[1]), *map(int, sys.argv[2:5])
    av.logging.set_level(av.logging.PANIC)
    good = sorted(good_folder.iterdir())
    with tempfile.TemporaryDirectory() as folder:
        for number in range(first, last):
            signal.alarm(SECONDS_A_FILE)
            print(json.dumps(run_one(good, Path(folder), seed, number)), flush=True)


if __name__ == "__main__":
    main()
