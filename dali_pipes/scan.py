"""What is true about each video file: found out once by a full decode, kept in a CSV that a person can read.

Containers lie about the number of frames, and files are cut short; a wrong frame count becomes black frames or a
crash later (DALI), so the count is that of the frames that really came out.
"""

from __future__ import annotations

import csv
import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import av

from dali_pipes.host_decode import (
    MATRIX_NAMES,
    RANGE_NAMES,
    UNTAGGED,
    open_video_stream,
    output_frames,
    quarter_turns,
    to_rgb,
)
from dali_pipes.isolated import map_isolated

CACHE_NAME = ".reskd_scan.csv"


@dataclass(frozen=True)
class FileFacts:
    """One video file.

    Args:
        num_frames: frames that a decode from the start puts out, up to the end or the first error.
        num_packets: packets of the video stream with something in them.
        width, height: of the stored picture in pixels, before rotation.
        rotation: 0, 90, 180 or 270 degrees counter-clockwise from the stored picture to the upright one.
        codec, pix_fmt: FFmpeg's names.
        matrix: "bt601", "bt709", ... or "untagged".
        colour_range: "limited", "full" or "untagged".
        file_size: bytes.
        mtime_ns: time of the last change.
        health: "ok"; "cut: <reason>" (good up to num_frames); "bad: <reason>" (not one frame).
    """

    num_frames: int
    num_packets: int
    width: int
    height: int
    rotation: int
    codec: str
    pix_fmt: str
    matrix: str
    colour_range: str
    file_size: int
    mtime_ns: int
    health: str

    @property
    def usable(self) -> bool:
        return not self.health.startswith("bad")


def probe(path: str | Path) -> FileFacts:
    """The facts of one file, by decoding all of it. Damage is reported in ``health``, not raised.

    Raises:
        OSError: the file is not there or cannot be read.
    """
    status = Path(path).stat()
    try:
        with av.open(str(path)) as container:
            return _decode_all(container, status)
    except (av.error.FFmpegError, ValueError) as error:
        return _bad(status, f"does not open: {_one_line(error)}")


def _decode_all(container: av.container.InputContainer, status: os.stat_result) -> FileFacts:
    stream = open_video_stream(container)
    first, num_frames, error = None, 0, ""
    try:
        for frame in output_frames(container, stream):
            first = first or frame
            num_frames += 1
    except av.error.FFmpegError as problem:
        error = _one_line(problem)
    if first is None:
        return _bad(status, f"no frame of codec {stream.codec_context.name}: {error or 'the stream is empty'}")
    try:
        to_rgb(first, width=first.width, height=first.height)
    except (av.error.FFmpegError, ValueError) as problem:
        return _bad(status, f"no RGB picture: {_one_line(problem)}")
    num_packets = _count_packets(container)
    damage = [f"{error} after {num_frames} frames"] if error else []
    if num_frames < num_packets:
        damage.append(f"{num_frames} frames out of {num_packets} packets")
    if num_frames < stream.frames:
        damage.append(f"{num_frames} frames, but the header says {stream.frames}")
    return FileFacts(
        num_frames=num_frames,
        num_packets=num_packets,
        width=first.width,
        height=first.height,
        rotation=quarter_turns(first) * 90,
        codec=stream.codec_context.codec.canonical_name,
        pix_fmt=first.format.name,
        matrix=MATRIX_NAMES.get(int(first.colorspace), UNTAGGED),
        colour_range=RANGE_NAMES.get(int(first.color_range), UNTAGGED),
        file_size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        health=f"cut: {'; '.join(damage)}" if damage else "ok",
    )


def _count_packets(container: av.container.InputContainer) -> int:
    """Packets up to the end of the file or the first unreadable one; opened again because not every format seeks."""
    count = 0
    with av.open(container.name) as again:
        try:
            for packet in again.demux(open_video_stream(again)):
                count += packet.size > 0
        except av.error.FFmpegError:
            return count
    return count


def _bad(status: os.stat_result, reason: str) -> FileFacts:
    return FileFacts(0, 0, 0, 0, 0, "", "", UNTAGGED, UNTAGGED, status.st_size, status.st_mtime_ns, f"bad: {reason}")


def _one_line(error: Exception) -> str:
    text = error.strerror if isinstance(error, av.error.FFmpegError) else str(error)
    return " ".join(str(text).split())


def scan(
    paths: Sequence[Path],
    *,
    root: Path,
    cache_csv: Path | None = None,
    num_workers: int = 2,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[Path, FileFacts]:
    """Facts of every path, from the cache where size and time of change still match, else by ``probe``.

    Files are decoded in separate processes, so that one which kills its decoder is only a "bad" row.

    Args:
        paths: video files.
        root: paths in the cache are written relative to it.
        cache_csv: CSV to read and extend; default ``default_cache(root)``.
        num_workers: processes.
        on_progress: called with (files done, files to probe) after each file that was not in the cache.

    Raises:
        OSError: a file is missing or unreadable, or the cache cannot be written.
    """
    cache_csv = cache_csv or default_cache(root)
    cached = read_cache(cache_csv)
    facts: dict[Path, FileFacts] = {}
    for path in paths:
        known, status = cached.get(_key(path, root)), path.stat()
        if known and (known.file_size, known.mtime_ns) == (status.st_size, status.st_mtime_ns):
            facts[path] = known
    todo = [path for path in dict.fromkeys(paths) if path not in facts]
    if todo:
        for done, (path, found) in enumerate(map_isolated(probe, todo, num_workers=num_workers), start=1):
            facts[path] = found or _bad(path.stat(), "the decoder's process died")
            if on_progress is not None:
                on_progress(done, len(todo))
        # Read again: another process may have added files meanwhile.
        write_cache(cache_csv, {**read_cache(cache_csv), **{_key(path, root): facts[path] for path in todo}})
    return {path: facts[path] for path in paths}


def default_cache(root: Path) -> Path:
    """``root/.reskd_scan.csv`` where that can be written, else a file in the user's cache folder."""
    beside = root / CACHE_NAME
    if os.access(beside if beside.exists() else root, os.W_OK) and os.access(root, os.W_OK):
        return beside
    name = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]
    return Path.home() / ".cache" / "reskd" / f"{name}.csv"


def read_cache(cache_csv: Path) -> dict[str, FileFacts]:
    """Facts by path as written; empty where there is no cache or it was written by another version."""
    names = [field.name for field in fields(FileFacts)]
    if not cache_csv.exists():
        return {}
    with cache_csv.open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        if next(reader, []) != ["path", *names]:
            return {}
        return {line[0]: _parse(dict(zip(names, line[1:], strict=True))) for line in reader}


def _parse(cells: dict[str, str]) -> FileFacts:
    kinds = {field.name: str if field.type == "str" else int for field in fields(FileFacts)}
    values: dict[str, Any] = {name: kinds[name](cell) for name, cell in cells.items()}
    return FileFacts(**values)


def write_cache(cache_csv: Path, facts: dict[str, FileFacts]) -> None:
    """Write all rows, sorted by path; a reader sees the old file or the new one, never half of one."""
    cache_csv.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=cache_csv.parent, prefix=cache_csv.name, suffix=".tmp")
    try:
        with os.fdopen(descriptor, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["path", *(field.name for field in fields(FileFacts))])
            writer.writerows([path, *astuple(found)] for path, found in sorted(facts.items()))
        Path(temporary).replace(cache_csv)
    except BaseException:
        Path(temporary).unlink()
        raise


def _key(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
