"""Videos in tar shards, as WebDataset writes them: expand a config's shard names, list their videos, locate them.

Note [Shards are read by byte offset]
WebDataset reads a shard sequentially and shuffles in a buffer. Here each video is read at its byte offset, so the
order is shuffled over all shards and a resumed run is exact, as with files; the price is more requests. At a URL, a
clip takes one request for each byte range of packets more than a MiB after the previous one: one per clip of UCF101
(60 of 60), where WebDataset takes one per shard of a thousand videos. More workers hide the latency of requests, but
do not reduce their number. If requests are expensive, copy the shards to a local disk.

The first run reads every video whole, as it does with files. Reading the headers of a shard takes one request per
video (61 for 60 of UCF101, 6 % of the bytes); the result is kept beside the scan's tables.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import logging
import os
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import starmap
from pathlib import Path

from dali_pipes.annotations.file_walk import count_of, named
from dali_pipes.annotations.lists import ListedVideo
from dali_pipes.atomic_files import atomic_write_text
from dali_pipes.checksums import checksum_of_json
from dali_pipes.file_names import on_one_line
from dali_pipes.packets.packet_index import ChangedFileError
from dali_pipes.regular_files import file_is_there
from dali_pipes.scan.probe import Probed, probe_bytes
from dali_pipes.storage.byte_range import file_system, is_url, stamp_of
from dali_pipes.storage.tar_index import TarContents, TarVideo, UnusedMembers, list_videos, read_member
from dali_pipes.storage_spec import Storage, split_path
from dali_pipes.video_info import Stamp, VideoInfo

log = logging.getLogger(__name__)

_NUM_THREADS = 8  # they wait for headers
_LISTING_VERSION = 3
_LABEL_LOST = "video whose label is missing in a damaged tar file"
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


@dataclass(frozen=True, slots=True)
class ShardMember:
    """A video in a shard; a ``dali_pipes.scan.scan.Location``.

    Args:
        file: path or URL of the shard.
        stamp: stamp of the shard.
        start, size: byte range of the video in the shard.
        key: name of the video in the scan's tables.
    """

    file: str
    stamp: Stamp
    start: int
    size: int
    key: str

    def is_unchanged(self, found: VideoInfo | None) -> bool:
        return found is not None and (found.start, found.file_size, found.mtime_ns) == (
            self.start,
            self.size,
            self.stamp.changed,
        )

    def prober(self, *, decode: bool) -> Callable[[], Probed]:
        return partial(probe_member, self, decode=decode)

    def bad(self, reason: str) -> VideoInfo:
        return VideoInfo.bad(reason, size=self.size, mtime_ns=self.stamp.changed, start=self.start)


def probe_member(member: ShardMember, *, decode: bool) -> Probed:
    """Like ``dali_pipes.scan.probe.probe``, for a video in a shard, which is read whole."""
    try:
        content = io.BytesIO(read_member(member.file, member.start, member.size))
    except (OSError, ChangedFileError) as error:
        return Probed(member.bad(str(error)))
    stamp = Stamp(member.size, member.stamp.changed)
    return probe_bytes(content, stamp, decode=decode, start=member.start)


def expand_pattern(base: str, pattern: str) -> list[str]:
    """List the shards of a pattern, relative to ``base``: {000..009} and {a,b} are expanded, *, ? and [] matched.

    Raises:
        ValueError: the files are compressed, or there are none.
    """
    if not pattern.endswith(".tar"):
        raise ValueError(f"data.train, data.test: expected uncompressed .tar files, found {pattern}; decompress them.")
    names: list[str] = []
    for name in _expand_braces(pattern):
        names += _glob(base, name) if re.search(r"[*?\[]", name) else [name]
    if not names:
        raise ValueError(f"expected tar files {pattern} in {base}, found none; check data.root or data.storage.url.")
    return names


def _expand_braces(pattern: str) -> list[str]:
    parts = re.split(r"(\{[^{}]*\})", pattern)
    return ["".join(chosen) for chosen in itertools.product(*map(_alternatives, parts))]


def _alternatives(part: str) -> list[str]:
    if not part.startswith("{"):
        return [part]
    match = _RANGE.fullmatch(part)
    if match is None:
        return part[1:-1].split(",")
    first, last = match.groups()
    return [f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1)]


def _glob(base: str, pattern: str) -> list[str]:
    if not is_url(base):
        return sorted(path.relative_to(base).as_posix() for path in Path(base).glob(pattern))
    system, path = file_system(base)
    path = path.rstrip("/")
    return sorted(found.strip("/").removeprefix(path.strip("/") + "/") for found in system.glob(f"{path}/{pattern}"))


def list_shards(
    root: Path,
    storage: Storage,
    pattern: str,
    store: Path,
    on_message: Callable[[str], None] = lambda message: None,
) -> list[ListedVideo]:
    """List the labeled videos of a pattern's shards; ``path`` is "shard.tar/name".

    Args:
        store: folder in which the headers' contents are kept.
        on_message: called with a sentence for each truncated or damaged shard, and one on all that is left out.

    Raises:
        ValueError: a shard is missing, compressed or not a tar file, or a video has no label.
    """
    names = expand_pattern(storage.shard_base(root), pattern)
    found = [contents for _, contents in read_contents([storage.shard_file(root, name) for name in names], store)]
    listed: list[ListedVideo] = []
    unlabeled: list[str] = []
    left_out: dict[str, list[UnusedMembers]] = defaultdict(list)
    for name, contents in zip(names, found, strict=True):
        if contents.damage:
            on_message(f"{name}: {contents.damage}; {len(contents.videos)} videos before it are")
        listed += [ListedVideo(f"{name}/{video.name}", video.labels) for video in contents.videos if video.labels]
        bare = [f"{name}/{video.name}" for video in contents.videos if not video.labels]
        if contents.damage and bare:  # their labels may be in the missing part
            left_out[_LABEL_LOST].append(UnusedMembers(_LABEL_LOST, len(bare), tuple(bare)))
        elif not contents.damage:
            unlabeled += bare
        for unused in contents.unused:
            left_out[unused.kind].append(unused._replace(first=tuple(f"{name}/{one}" for one in unused.first)))
    if unlabeled:
        raise ValueError(_describe_unlabeled(unlabeled))
    if left_out:
        on_message(f"{pattern}: left out: {', '.join(starmap(_describe_left_out, left_out.items()))}")
    if not listed:
        raise ValueError(f"{pattern}: expected at least one video in {len(names)} tar files, found none.")
    return listed


def _describe_left_out(kind: str, members: Sequence[UnusedMembers]) -> str:
    count = sum(one.number for one in members)
    return f"{count_of(count, kind)} ({named(name for one in members for name in one.first)})"


def _describe_unlabeled(names: Sequence[str]) -> str:
    key = on_one_line(split_path(names[0])[1].partition(".")[0])
    count = f"none for {count_of(len(names), 'video')} ({named(names)})" if len(names) > 1 else "none"
    return (
        f'{on_one_line(names[0])}: expected a label in {key}.cls, {key}.txt or {key}.json ({{"label": ...}}) of the '
        f"same tar file, found {count}; or give a CSV with path,label, paths as <shard>.tar/<video>."
    )


def members_of(root: Path, storage: Storage, paths: Sequence[str], store: Path) -> dict[str, ShardMember]:
    """Locations of listed videos, by their paths in the list.

    Raises:
        ValueError: a shard, or a video in it, is missing.
    """
    files = list(dict.fromkeys(storage.shard_file(root, split_path(path)[0]) for path in paths))
    known = {
        file: (stamp, {video.name: video for video in contents.videos})
        for file, (stamp, contents) in zip(files, read_contents(files, store), strict=True)
    }
    members = {}
    for path in paths:
        shard, name = split_path(path)
        file = storage.shard_file(root, shard)
        stamp, videos = known[file]
        if name not in videos:
            raise ValueError(f"expected the listed video {name} in {file}, found {len(videos)} others; check the list.")
        key = f"{file}/{name}" if is_url(file) else path
        members[path] = ShardMember(file, stamp, videos[name].start, videos[name].size, key)
    return members


def read_contents(files: Sequence[str], store: Path) -> list[tuple[Stamp, TarContents]]:
    """Read stamp and contents of each shard: from ``store`` if the stamp is unchanged, else from the headers."""
    with ThreadPoolExecutor(_NUM_THREADS) as pool:
        return list(pool.map(lambda file: _contents(file, store), files))


def _contents(file: str, store: Path) -> tuple[Stamp, TarContents]:
    try:
        stamp = stamp_of(file)
    except OSError as error:
        raise ValueError(
            f"expected the tar file {file}, found none ({error}); check data.train and data.root or data.storage.url."
        ) from error
    kept = store / "shards" / f"{hashlib.sha256(os.fsencode(file)).hexdigest()[:24]}.json"
    header = [_LISTING_VERSION, file, *stamp]
    contents = _kept_contents(kept, header)
    if contents is None:
        contents = list_videos(file, stamp.size)
        kept.parent.mkdir(parents=True, exist_ok=True)
        if kept.is_dir():  # a file cannot take its place
            return stamp, contents
        about = {"of": header, **contents._asdict()}
        atomic_write_text(kept, json.dumps(about | {"checksum": checksum_of_json(about)}))
    return stamp, contents


def _kept_contents(path: Path, header: list[object]) -> TarContents | None:
    """The contents that were kept for a file; None if there are none, or they are damaged or of another state of it."""
    try:
        if not file_is_there(path, "the kept contents of a tar file", advice="remove it"):
            return None
        about = json.loads(path.read_bytes())
        # A kept file of another kind may have a sound checksum too.
        is_as_written = about.pop("checksum") == checksum_of_json(about) and set(about) == {"of", *TarContents._fields}
    except Exception:  # whatever was left of the file may raise anything
        is_as_written = False
    if not is_as_written:
        log.warning("%s: the kept contents of a tar file are damaged and are read again", path)
        return None
    if about["of"] != header:
        return None
    videos = tuple(TarVideo(name, start, size, tuple(labels)) for name, start, size, labels in about["videos"])
    unused = tuple(UnusedMembers(kind, count, tuple(first)) for kind, count, first in about["unused"])
    return TarContents(videos, about["damage"], unused)
