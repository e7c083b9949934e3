"""Probes many videos in processes and keeps what is found out (``dali_pipes.scan.store``), so that it is done once."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from dali_pipes.jobs.map_files import Engine, make_engine
from dali_pipes.scan.probe import Probed, bad_file, probe
from dali_pipes.scan.store import FactsWriter, read_facts
from dali_pipes.video_info import FileFacts

STORE_NAME = ".reskd_scan"


class Place(Protocol):
    """Where a video lies, as the scan needs to know it."""

    @property
    def key(self) -> str:
        """Its name in the store."""
        ...

    def is_as(self, found: FileFacts | None) -> bool:
        """Whether stored facts, if any, are still those of this video; raises OSError where it is missing."""
        ...

    def prober(self, *, decode: bool) -> Callable[[], Probed]:
        """What finds out the facts, in another process: can be pickled."""
        ...

    def bad(self, reason: str) -> FileFacts:
        """Facts of a video whose prober died."""
        ...


@dataclass(frozen=True, slots=True)
class VideoFile:
    """A video in a local file of its own."""

    file: str  # no Path: a quarter of a million of those would take 20 s
    key: str

    def is_as(self, found: FileFacts | None) -> bool:
        status = os.stat(self.file)  # noqa: PTH116
        return found is not None and (found.file_size, found.mtime_ns) == (status.st_size, status.st_mtime_ns)

    def prober(self, *, decode: bool) -> Callable[[], Probed]:
        return partial(probe, Path(self.file), decode=decode)

    def bad(self, reason: str) -> FileFacts:
        path = Path(self.file)
        return bad_file(path.stat() if path.exists() else None, reason)


def video_files(root: Path, names: Sequence[str]) -> dict[str, Place]:
    """Places of files, by their paths from ``root``."""
    return {name: VideoFile(os.path.join(root, name), name) for name in names}  # noqa: PTH118


def scan(
    videos: Sequence[str] | Mapping[str, Place],
    *,
    root: Path,
    store: Path | None = None,
    engine: Engine | None = None,
    decode: bool = True,
    on_progress: Callable[[int, int, int], None] | None = None,
) -> dict[str, FileFacts]:
    """Facts of every video by its name: what is stored, where it is unchanged, else by ``probe`` or its like.

    Videos are decoded in separate processes, so that one which kills its decoder is only a "bad" row. What is found is
    stored file by file; a scan that was killed goes on where it was.

    Args:
        videos: paths of files from ``root``; or for videos stored otherwise, where each lies, by its name in the list.
        root: folder.
        store: folder to read and add to; default ``default_store(root)``.
        engine: who decodes; default: two processes of this machine.
        decode: look into every frame; else what an index-only scan found is good enough too.
        on_progress: called with (files done, files to probe, bytes done) after each file that was not stored.

    Raises:
        ValueError: files are missing.
        OSError: the store cannot be written.
    """
    store = store or default_store(root)
    places = videos if isinstance(videos, Mapping) else video_files(root, videos)
    facts, missing = _stored_facts(places, store, decode=decode)
    if missing:
        raise ValueError(
            f"expected the {len(videos)} listed videos under {root}, found {len(missing)} of them missing; the first "
            f"is {missing[0]}; check data.root."
        )
    todo = [(name, place.prober(decode=decode)) for name, place in places.items() if name not in facts]
    num_bytes = 0
    engine = engine or make_engine("local")
    with FactsWriter(store) as writer:
        for done, ((name, _), found_now) in enumerate(engine(_call, todo), start=1):
            probed = found_now or Probed(places[name].bad("the decoder's process died"))
            facts[name] = writer.add(places[name].key, *probed)
            num_bytes += probed.facts.file_size
            if on_progress is not None:
                on_progress(done, len(todo), num_bytes)
    return facts


def _stored_facts(places: Mapping[str, Place], store: Path, *, decode: bool) -> tuple[dict[str, FileFacts], list[str]]:
    """Facts in the store that still hold and are good enough, and the names of videos that are not there."""
    known = read_facts(store)
    facts: dict[str, FileFacts] = {}
    missing = []
    for name, place in places.items():
        found = known.get(place.key)
        try:
            is_known = place.is_as(found)
        except OSError:
            missing.append(name)
            continue
        if found and is_known and (found.num_frames_source == "decode" or not decode):
            facts[name] = found
    return facts, missing


def _call(named: tuple[str, Callable[[], Probed]]) -> Probed:
    return named[1]()


def default_store(root: Path) -> Path:
    """``root/.reskd_scan`` where that can be written, else a folder in the user's cache."""
    beside = root / STORE_NAME
    if os.access(beside if beside.exists() else root, os.W_OK):
        return beside
    name = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]
    return Path.home() / ".cache" / "reskd" / name


def describe_scan(facts: Mapping[str, FileFacts]) -> list[str]:
    """What was found, in lines for a person: every file that is not sound by name."""
    kinds = Counter(found.health.partition(":")[0] for found in facts.values())
    whole = Counter(found.whole_file for found in facts.values() if found.usable and found.whole_file)
    num_indexed = kinds.total() - kinds["bad"] - whole.total()
    lines = [f"{name}: {found.health}" for name, found in facts.items() if found.health != "ok"]
    lines.append(f"{len(facts)} files: {kinds['ok']} sound, {kinds['cut']} cut, {kinds['bad']} bad")
    lines.append(f"{num_indexed} have a packet index: a clip reads and decodes only what it needs")
    lines += [f"{count} are decoded whole: {reason}" for reason, count in whole.most_common()]
    return lines
