"""Transcode a whole data root: choose the files, write them, record the results, and rewrite the lists."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath

from dali_pipes.annotations.lists import parse_list, rewrite_list, videos_under
from dali_pipes.atomic_files import atomic_write_bytes, atomic_write_text
from dali_pipes.choices import ListFormat
from dali_pipes.file_names import on_one_line
from dali_pipes.jobs.map_files import Engine, shard_of
from dali_pipes.jobs.progress import gib
from dali_pipes.transcode.encode import OutputSettings, Reencoded, reencode
from dali_pipes.transcode.journal import Record, journal_path, open_journal, read_journals
from dali_pipes.transcode.list_places import check_places, place_of
from dali_pipes.transcode.output_names import describe_renamed, plain_name, renamed_outputs

_NUM_NAMED = 10
_DIED = Reencoded(0, 0, 0, "bad: the decoder's process died")


@dataclass(frozen=True)
class GivenLists:
    """The lists whose videos are transcoded, and the files of classes beside them, relative to the source root.

    Args:
        list_format: as ``data.list_format``.
    """

    lists: tuple[Path, ...] = ()
    classes: tuple[Path, ...] = ()
    list_format: ListFormat = "auto"


NO_LISTS = GivenLists()


@dataclass(frozen=True)
class Job:
    """Sources and outputs of a transcode.

    Args:
        paths: paths of videos, relative to both roots; only those of the shard are processed.
        shard: (i, n), i from 1 to n.
        given: files to write under the new root too.
        renamed: outputs of the videos that do not get their plain name, by path.
        remarks: sentences on how the lists were read, or on what was left out of the folder.
    """

    source_root: Path
    target_root: Path
    paths: tuple[str, ...]
    settings: OutputSettings
    shard: tuple[int, int] = (1, 1)
    given: GivenLists = NO_LISTS
    renamed: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def output_of(self, path: str) -> str:
        """Path of a video's output, relative to the new root."""
        return self.renamed.get(path) or plain_name(path)

    @property
    def own_paths(self) -> tuple[str, ...]:
        """The shard's part of ``paths``, chosen by a hash of the path, so it is the same on every machine."""
        return tuple(shard_of(self.paths, self.shard))


def plan(
    source_root: Path,
    target_root: Path,
    settings: OutputSettings,
    *,
    given: GivenLists = NO_LISTS,
    shard: tuple[int, int] = (1, 1),
) -> Job:
    """Plan a job for the videos of the lists, or all under ``source_root``. Creates ``target_root``.

    Raises:
        ValueError: the new root is inside the old one, there is no video, a list or a file of classes is missing or
            would be replaced, or a path leaves the root.
        OSError: ``target_root`` cannot be created.
    """
    if not source_root.is_dir():
        raise ValueError(f"expected a folder with videos, found none at {source_root}.")
    if target_root.resolve().is_relative_to(source_root.resolve()):
        raise ValueError(
            f"expected a folder for the new files outside {source_root}, found {target_root} inside it; choose another."
        )
    shard_of((), shard)
    remarks: list[str] = []
    paths = _listed_paths(source_root, given, remarks) if given.lists else videos_under(source_root, remarks.append)
    _check_paths(paths, source_root)
    for name in given.classes:
        if not (source_root / name).is_file():
            raise ValueError(f"expected a file of class names at {source_root / name}, found none.")
    check_places(source_root, target_root, given.lists, given.classes)
    target_root.mkdir(parents=True, exist_ok=True)
    renamed = _renamed(source_root, target_root, paths)
    return Job(source_root, target_root, tuple(paths), settings, shard, given, renamed, tuple(remarks))


def _listed_paths(root: Path, given: GivenLists, remarks: list[str]) -> list[str]:
    paths: dict[str, None] = {}
    for name in given.lists:
        parsed = parse_list(root, name, given.list_format)
        remarks += parsed.remarks
        paths.update(dict.fromkeys(video.path for video in parsed.videos))
    return list(paths)


def _renamed(source_root: Path, target_root: Path, paths: Sequence[str]) -> dict[str, str]:
    """Outputs that need another name than the plain one; those of earlier runs keep theirs, unless a source has it."""
    # A source can lie in the new root even if the old root does not: as a link, or in a linked folder.
    sources = {_identity(source_root / path) for path in paths if (source_root / path).exists()}

    def is_blocked(name: str) -> bool:
        target = target_root / name
        return target.is_dir() or (target.exists() and _identity(target) in sources)

    known = {record.path: record.output for record in read_journals(target_root).values() if record.output}
    return renamed_outputs(paths, {path: name for path, name in known.items() if not is_blocked(name)}, is_blocked)


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _check_paths(paths: Sequence[str], root: Path) -> None:
    if not any((root / path).is_file() for path in paths):
        raise ValueError(f"expected videos under {root}, found none of {len(paths)} listed; check the root.")
    for path in paths:
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            raise ValueError(f"expected paths inside {root}, found {path}; list it relative to the root.")


def describe_job(job: Job, todo: Sequence[str]) -> list[str]:
    """Lines about the lists or the folder, the videos, and the outputs that get other names."""
    counts = f"{len(job.paths)} videos, {len(job.own_paths)} of them for this run, {len(todo)} still to do"
    return [*job.remarks, counts, *describe_renamed(job.renamed)]


def done_records(job: Job, *, with_missing: bool = False) -> dict[str, Record]:
    """Records of earlier runs, of any shard, whose source and output are unchanged.

    Args:
        with_missing: also of sources that were not there, and still are not.
    """
    known = read_journals(job.target_root)
    found = {}
    for path in job.paths:
        source = job.source_root / path
        if source.is_file():
            status = source.stat()
            record = known.get((path, status.st_size, status.st_mtime_ns, job.settings.key))
            if record is not None and record.still_holds(job.target_root):
                found[path] = record
        elif with_missing and (record := known.get(_missing(path, job.settings).key)):
            found[path] = record
    return found


def run(
    job: Job,
    todo: Sequence[str],
    *,
    engine: Engine,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Record]:
    """Transcode ``todo`` in processes of one thread each; every file is recorded when it is finished.

    Args:
        engine: runs the encoders.
        on_progress: called with (files done, files to do) after each file.

    Raises:
        ValueError: another run uses this folder.
        OSError: the disk is full or cannot be written.
    """
    for folder in {(job.target_root / job.output_of(path)).parent for path in todo}:
        folder.mkdir(parents=True, exist_ok=True)
    records: list[Record] = []
    with open_journal(journal_path(job.target_root, job.shard)) as journal:
        work = partial(_reencode_one, job.source_root, job.target_root, job.settings)
        for (path, output), found in engine(work, [(path, job.output_of(path)) for path in todo]):
            record = found or _record(path, output, (job.source_root / path).stat(), _DIED, job.settings)
            journal.add(record)
            records.append(record)
            on_progress(len(records), len(todo))
    return records


def _reencode_one(
    source_root: Path, target_root: Path, settings: OutputSettings, path_and_output: tuple[str, str]
) -> Record:
    path, output = path_and_output
    if not (source_root / path).is_file():
        return _missing(path, settings)
    # Before reading, so that a file that changes meanwhile counts as changed.
    status = (source_root / path).stat()
    result = reencode(source_root / path, target_root / output, settings)
    return _record(path, output, status, result, settings)


def _missing(path: str, settings: OutputSettings) -> Record:
    return Record(path, "", 0, 0, 0, 0, "missing: no such file", 0, settings.key)


def _record(path: str, output: str, source: os.stat_result, result: Reencoded, settings: OutputSettings) -> Record:
    return Record(
        path=path,
        output=output if result.frames_out else "",
        frames_in=result.frames_in,
        frames_out=result.frames_out,
        bytes_in=source.st_size,
        bytes_out=result.bytes_out,
        status=result.status,
        mtime_ns=source.st_mtime_ns,
        settings=settings.key,
    )


def write_lists(job: Job, records: Mapping[str, Record]) -> list[str]:
    """Write the lists with the new paths and copy the files of classes, to the same paths under the new root.

    A video without an output is left out of the lists.

    Returns:
        A sentence for each file written.

    Raises:
        ValueError: a path of ``job`` has no record yet.
    """
    missing = [path for path in job.paths if path not in records]
    if missing:
        raise ValueError(f"expected a record of every listed video, found none of {missing[0]}.")
    sentences = []
    outputs = {path: records[path].output if records[path].usable else None for path in job.paths}
    for name in job.given.lists:
        new = rewrite_list(job.source_root, name, outputs.__getitem__, job.given.list_format)
        target = _make_place(job, name)
        atomic_write_text(target, new.text, errors="surrogateescape")
        left_out = f", {new.num_left_out} videos without a usable frame left out" if new.num_left_out else ""
        needs = f"; read it with data.list_format={new.needs_format} (--list-format)" if new.needs_format else ""
        sentences.append(f"{target}: list with the new names{left_out}{needs}")
    for name in job.given.classes:
        target = _make_place(job, name)
        atomic_write_bytes(target, (job.source_root / name).read_bytes())
        sentences.append(f"{target}: copied")
    return sentences


def _make_place(job: Job, name: Path) -> Path:
    place = place_of(job.source_root, job.target_root, name)
    place.parent.mkdir(parents=True, exist_ok=True)
    return place


def describe_records(records: Sequence[Record]) -> str:
    """Summarize: number of files by status, frames, bytes, and the first files that are not "ok"."""
    kinds = Counter(record.status.partition(":")[0] for record in records)
    lines = [
        f"{', '.join(f'{count} {kind}' for kind, count in kinds.most_common())}; "
        f"{sum(record.frames_out for record in records)} frames, "
        f"{gib(sum(record.bytes_in for record in records))} -> {gib(sum(record.bytes_out for record in records))}"
    ]
    named = [record for record in records if record.status != "ok"]
    lines += [f"  {on_one_line(record.path)}: {record.status}" for record in named[:_NUM_NAMED]]
    if len(named) > _NUM_NAMED:
        lines.append(f"  and {len(named) - _NUM_NAMED} more")
    return "\n".join(lines)


def finish(job: Job, done: Mapping[str, Record]) -> Iterator[str]:
    """Yield lines about the results of this run's files; the last shard to finish writes the lists.

    Args:
        done: records of the shard's files, which are in the journal. Those of the other shards are read now, as shards
            may run at once.

    Raises:
        ValueError: a file that was written could not be read back.
    """
    own = [done[path] for path in job.own_paths]
    journal = journal_path(job.target_root, job.shard)
    yield describe_records(own)
    yield f"{journal}: the result of every file"
    failed = [record for record in own if record.status.startswith("failed")]
    if failed:
        raise ValueError(
            f"expected to read back every file written, found {len(failed)} that failed, the first {failed[0].path} "
            f"({failed[0].status}); run the same command again, and report the error if it persists."
        )
    of_all = done_records(job, with_missing=True) | {record.path: record for record in own}
    num_left = sum(path not in of_all for path in job.paths)
    if num_left:
        yield f"{num_left} videos of other shards are not finished; the last shard to finish writes the lists."
        return
    yield from write_lists(job, of_all)
