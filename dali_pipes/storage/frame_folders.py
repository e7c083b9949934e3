"""Videos as folders of JPEG frames: list the folders of each class, and find their video info."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from av.video.frame import VideoFrame

from dali_pipes.annotations.file_walk import count_of, named
from dali_pipes.annotations.lists import VIDEO_SUFFIXES, ListedVideo, ParsedList
from dali_pipes.decode.jpeg import BadJpegError, JpegDecoder, JpegHeader, read_header
from dali_pipes.decode.pyav import to_rgb
from dali_pipes.scan.content_hash import Piece, sample_hash
from dali_pipes.scan.probe import Probed
from dali_pipes.storage.frame_files import numbers_in
from dali_pipes.video_info import JPEG_FILES, UNTAGGED, VideoInfo


@dataclass(frozen=True, slots=True)
class FrameFolder:
    """A ``dali_pipes.scan.scan.Location``.

    Rewriting a file in place does not change the folder's time. So a damaged folder is scanned every time; in a sound
    one, the clip reader detects a file that is truncated or of another size.

    Args:
        key: name in the scan's tables; it includes the template, since another template finds other frames.
    """

    folder: str
    template: str
    key: str

    def is_unchanged(self, found: VideoInfo | None) -> bool:
        mtime_ns = os.stat(os.path.join(self.folder, "")).st_mtime_ns  # noqa: PTH116, PTH118 -- "/": not of a file
        return found is not None and found.mtime_ns == mtime_ns and found.health == "ok"

    def prober(self, *, decode: bool) -> Callable[[], Probed]:
        return partial(probe_frames, Path(self.folder), self.template, decode=decode)

    def bad(self, reason: str) -> VideoInfo:
        path = Path(self.folder)
        return VideoInfo.bad(reason, mtime_ns=path.stat().st_mtime_ns if path.exists() else 0)


def list_frame_folders(root: Path, template: str) -> ParsedList:
    """List the folders <class>/<video>/ under ``root`` with a file that matches the template.

    The remarks name and count the folders and links that are left out.

    Raises:
        ValueError: there is no root folder, or no such file below it.
    """
    if not root.is_dir():
        raise ValueError(f"data.root: expected a folder with class folders, found nothing at {root}.")
    videos: list[ListedVideo] = []
    kinds: dict[str, list[str]] = defaultdict(list)
    for label in sorted(root.iterdir()):
        if label.name.startswith(".") or not label.is_dir():
            continue
        num_before = len(videos)
        for video in _sorted_entries(label, root, kinds):
            path = video.relative_to(root).as_posix()
            kind = _kind(video, template)
            if kind:
                kinds[kind].append(path)
            else:
                videos.append(ListedVideo(path, (label.name,), None, True))
        if len(videos) == num_before:
            kinds["class folder without a video"].append(label.name)
    if not videos:
        raise ValueError(
            f"expected <class>/<video>/{template.format(1)} in {root}, found no such file; check data.root and "
            "data.storage.template."
        )
    parts = [f"{count_of(len(found), kind)} ({named(found)})" for kind, found in kinds.items()]
    return ParsedList(videos, (), "folders", (f"{root}: left out: {', '.join(parts)}",) if parts else ())


def _sorted_entries(label: Path, root: Path, kinds: dict[str, list[str]]) -> list[Path]:
    try:
        return sorted(label.iterdir())
    except OSError as error:
        kinds["unreadable folder"].append(f"{label.relative_to(root).as_posix()}: {error.strerror}")
        return []


def _kind(video: Path, template: str) -> str:
    """Why an entry of a class folder is no folder of frames; empty if it is one."""
    if video.name.startswith("."):
        return "hidden file"
    if not video.is_dir():
        return "dangling link" if video.is_symlink() and not video.exists() else "file"
    try:
        return "" if _has_frame(video, template) else f"folder without {template.format(1)}"
    except OSError:
        return "unreadable folder"


def _has_frame(video: Path, template: str) -> bool:
    return any((video / template.format(number)).exists() for number in (0, 1)) or bool(numbers_in(video, template))


def folders_of(root: Path, template: str, paths: Sequence[str]) -> dict[str, FrameFolder]:
    """Locations of listed videos, by their paths in the list."""
    return {path: FrameFolder(os.path.join(root, path), template, f"{path}/{template}") for path in paths}  # noqa: PTH118


def as_folder(root: Path, video: ListedVideo) -> ListedVideo:
    """Map "Class/v_x.avi", in a list written for the original videos, to the folder "Class/v_x"."""
    path = Path(video.path)
    if path.suffix.lower() in VIDEO_SUFFIXES and not (root / path).is_dir():
        return replace(video, path=path.with_suffix("").as_posix())
    return video


def pieces_of(folder: Path, template: str) -> list[Piece]:
    """The files of a video, in the order of their numbers; raises OSError for a missing folder or one without any."""
    sizes = numbers_in(folder, template)
    if not sizes:
        raise FileNotFoundError(f"{folder}: expected files named as {template}, found none.")
    return _pieces(folder, template, sizes)


def _pieces(folder: Path, template: str, sizes: dict[int, int]) -> list[Piece]:
    return [Piece(f"{folder}/{template.format(number)}", 0, sizes[number]) for number in sorted(sizes)]


def probe_frames(folder: Path, template: str, *, decode: bool) -> Probed:
    """Like ``dali_pipes.scan.probe.probe``: the video ends at a gap in the numbers or a damaged file.

    Args:
        decode: whether to decode all files; otherwise only the first and the last, and all if the last is faulty.
    """
    mtime_ns = 0
    try:
        mtime_ns = os.stat(folder).st_mtime_ns  # noqa: PTH116 -- before the files are listed
        sizes = numbers_in(folder, template)
    except OSError as error:
        return Probed(VideoInfo.bad(f"does not open: {error.strerror}", mtime_ns=mtime_ns))
    if not sizes or min(sizes) > 1:
        found = f"{template.format(min(sizes))} as the first" if sizes else "none"
        reason = f"expected {template.format(0)} or {template.format(1)}, found {found}"
        return Probed(VideoInfo.bad(reason, mtime_ns=mtime_ns))
    first = min(sizes)
    names, damage = _in_a_row(sizes, first, template)
    num_good, fault, picture = _look_into(folder, names, decode=decode)
    if num_good < len(names):
        damage = f"{fault}; {len(sizes) - num_good} files from there on are not used"
    if picture is None or not num_good:
        return Probed(VideoInfo.bad(fault or damage, size=sum(sizes.values()), mtime_ns=mtime_ns))
    return Probed(
        VideoInfo(
            num_frames=num_good,
            num_packets=num_good,
            width=picture.width,
            height=picture.height,
            rotation=0,
            codec=JPEG_FILES,
            pix_fmt=picture.format.name,
            matrix=UNTAGGED,
            color_range="full",
            file_size=sum(sizes.values()),
            mtime_ns=mtime_ns,
            health=f"cut: {damage}" if damage else "ok",
            num_frames_source="decode" if decode else "demux",
            whole_file="its frames are files",
            start=first,
            content=sample_hash(_pieces(folder, template, sizes)),
        )
    )


def _in_a_row(sizes: dict[int, int], first: int, template: str) -> tuple[list[str], str]:
    """Names of the files before the first missing or empty one, and the fault of that one."""
    number = first
    while sizes.get(number):
        number += 1
    names = [template.format(one) for one in range(first, number)]
    rest = len(sizes) - len(names)
    if not rest:
        return names, ""
    what = "is empty" if number in sizes else "is missing"
    return names, f"{template.format(number)} {what}; {rest} files from there on are not used"


def _look_into(folder: Path, names: Sequence[str], *, decode: bool) -> tuple[int, str, VideoFrame | None]:
    """Number of good files, the fault of the next one, and the first picture."""
    decoder, picture, expected = JpegDecoder(), None, None
    wanted = range(len(names)) if decode else sorted({0, len(names) - 1}) if names else ()
    for location in wanted:
        try:
            data = (folder / names[location]).read_bytes()
            header = read_header(data)
            frame = decoder.decode(data)
            if picture is None:
                to_rgb(frame, width=frame.width, height=frame.height)
                picture, expected = frame, header
            fault = _other_size(header, expected)
        except (BadJpegError, OSError, ValueError) as error:
            fault = str(error)
        if fault:
            if not decode and location:  # somewhere between the first and the last
                return _look_into(folder, names, decode=True)
            return location, f"{names[location]}: {fault}", picture
    return len(names), "", picture


def _other_size(found: JpegHeader, expected: JpegHeader | None) -> str:
    if expected in (None, found):
        return ""
    return f"expected {expected.width}x{expected.height} pixels as the first, found {found.width}x{found.height}"
