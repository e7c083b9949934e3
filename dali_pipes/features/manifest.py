"""The usable videos of one split of frame-level records: labels and record locations."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dali_pipes.annotations.lists import read_class_names
from dali_pipes.features.record_index import Damage, RecordIndex, open_index
from dali_pipes.features.tfrecord import RecordLocation
from dali_pipes.jobs.progress import progress_messages
from dali_pipes.sampling.counter_rng import uniform
from dali_pipes.scan.scan import default_store

if TYPE_CHECKING:
    from dali_pipes.features.config import FeatureDataConfig

_SPLIT = 201  # number of this use of the hash, different from all other uses
_MOST_NAMED = 10


@dataclass(frozen=True)
class FeatureManifest:
    """Usable videos of one split.

    Args:
        class_names: names in the order of the labels.
        index: index of all records of its files.
        members: int64 (M,), increasing: the split's rows in the index.
        dropped: (record, reason) of unusable records; a damaged byte range of a file is one entry.
        num_dropped: number of videos in these, in part estimated.
    """

    class_names: tuple[str, ...]
    index: RecordIndex
    members: np.ndarray
    dropped: tuple[tuple[str, str], ...]
    num_dropped: int

    def __len__(self) -> int:
        return len(self.members)

    @property
    def num_listed(self) -> int:
        """Number of videos in the files, including dropped ones."""
        return len(self) + self.num_dropped

    def name(self, number: int) -> str:
        """File, byte offset and id of a row, for messages."""
        return self.index.name(self.members[number])

    def file(self, number: int) -> str:
        """Path of the file that holds a row's record."""
        return f"{self.index.root}/{self.index.file(self.members[number])}"

    def location(self, number: int) -> RecordLocation:
        """Location of a row's record in its file."""
        return self.index.location(self.members[number])

    def labels(self, number: int) -> np.ndarray:
        """int64, all labels of a row, in the record's order; at least one."""
        return self.index.labels(self.members[number])

    @property
    def first_labels(self) -> np.ndarray:
        """int64 (M,), the first label of each video."""
        ends = self.index.rows["label_end"]
        starts = ends - _lengths(ends)
        return self.index.label_numbers[starts[self.members]]

    @property
    def num_labels(self) -> np.ndarray:
        """int64 (M,), number of labels of each video."""
        return _lengths(self.index.rows["label_end"])[self.members]

    @cached_property
    def has_several_labels(self) -> bool:
        """Whether any video has more than one label."""
        return bool((self.num_labels > 1).any())

    def class_counts(self) -> np.ndarray:
        """int64 (K,): number of videos of each class; a video with several labels counts in each."""
        labels = self.index.label_numbers[self._of_members("label_end")]
        return np.bincount(labels, minlength=len(self.class_names))

    @property
    def content_hash(self) -> str:
        """sha256 over ids, labels, lengths and class names; the same on another machine with the same records."""
        rows = self.index.rows
        digest = hashlib.sha256(self.index.id_bytes[self._of_members("id_end")].tobytes())
        digest.update(self.index.label_numbers[self._of_members("label_end")].tobytes())
        lengths = (_lengths(rows["id_end"]), _lengths(rows["label_end"]), rows["length"])
        for column in lengths:
            digest.update(np.ascontiguousarray(column[self.members]).tobytes())
        digest.update(os.fsencode("\n".join(self.class_names)))
        return digest.hexdigest()

    def _of_members(self, end: str) -> np.ndarray:
        """bool: which bytes of the ids, or which labels, belong to this split."""
        chosen = np.zeros(len(self.index.rows), bool)
        chosen[self.members] = True
        return np.repeat(chosen, _lengths(self.index.rows[end]))


def build_feature_manifests(
    config: FeatureDataConfig,
    *,
    seed: int,
    splits: Sequence[str] = ("train", "val"),
    on_message: Callable[[str], None] = lambda message: None,
    on_damage: Callable[[str], None] | None = None,
) -> dict[str, FeatureManifest]:
    """Build the manifests of the requested splits ("train", "val", "test"). New files are indexed.

    ``val`` consists of the files of its pattern, or is held out of the training videos by a hash of the seed and the
    video's id; if the config has neither, the result has no "val". A video with no label or with one outside the
    classes is dropped.

    Args:
        seed: seed of the held-out part, unless ``data.split_seed`` is set.
        on_message: called with a sentence for classes without videos.
        on_damage: called with a sentence for each dropped record; default: on_message.

    Raises:
        ValueError: a pattern without files, files of another kind, records without the config's features, more bad
            labels and lost records than ``loader.max_bad_fraction``, or "test" is requested and the config has no test
            files.
    """
    unknown = set(splits) - {"train", "val", "test"}
    if unknown:
        raise ValueError(f'splits: expected "train", "val" or "test", found {sorted(unknown)}.')
    if "test" in splits and config.test is None:
        raise ValueError("data.test: expected a pattern of test files, found none.")
    names = read_class_names(config.root / config.classes) if config.classes else None
    class_names = names or tuple(str(number) for number in range(config.num_classes or 0))
    manifests = {}
    for split in splits:
        pattern = {"train": config.train, "val": config.val, "test": config.test}[split]
        held_out = split == "val" and pattern is None
        if held_out and not config.val_fraction:
            continue
        index = _open_index(config, pattern or config.train, on_message)
        fraction = config.val_fraction if split == "train" or held_out else 0.0
        chosen = np.ones(len(index.rows), bool)
        if fraction:
            chosen = (uniform(config.seed_of_split(seed), _SPLIT, index.rows["id_hash"]) < fraction) == held_out
            if not chosen.any():
                raise ValueError(
                    f"data.val_fraction = {fraction:g} leaves no video for {split}, of {len(chosen)}; change it, or "
                    "name files in data.val."
                )
        manifests[split] = found = _manifest(config, split, class_names, index, np.flatnonzero(chosen))
        _name_dropped(split, found, on_damage or on_message)
        _name_empty(split, found, on_message)
    return manifests


def _open_index(config: FeatureDataConfig, pattern: str, on_message: Callable[[str], None]) -> RecordIndex:
    if Path(pattern).is_absolute():
        raise ValueError(f"data: expected patterns relative to data.root, found {pattern}; remove the root.")
    files = sorted(path.relative_to(config.root).as_posix() for path in config.root.glob(pattern) if path.is_file())
    if not files:
        raise ValueError(f"data: expected files {pattern} under {config.root}, found none; check both.")
    index = open_index(
        config.root,
        files,
        store=default_store(config.root),
        on_progress=progress_messages(on_message, "indexing records", "files"),
    )
    for name, lists in index.lists.items():
        _check_lists(config, config.root / name, lists)
    return index


def _check_lists(config: FeatureDataConfig, file: Path, lists: dict[str, int | str]) -> None:
    found = {name: lists.get(name) for name in config.groups}
    if all(found[name] in (dim, "no frames") for name, dim in config.groups.items()):
        return
    shown = ", ".join(f"{name} ({holds})" for name, holds in lists.items()) or "none"
    hint = "set data.groups to the files' lists"
    if "floats" in found.values():
        hint = "only features quantized to 8 bits are read (dali_pipes/features/sequence_example.py writes them)"
    raise ValueError(f"{file}: expected feature lists {config.groups} (bytes per frame), found {shown}; {hint}.")


def _manifest(
    config: FeatureDataConfig,
    split: str,
    class_names: tuple[str, ...],
    index: RecordIndex,
    chosen: np.ndarray,
) -> FeatureManifest:
    counts = _lengths(index.rows["label_end"])
    outside = (index.label_numbers < 0) | (index.label_numbers >= len(class_names))
    has_outside = np.zeros(len(index.rows), bool)
    has_outside[np.repeat(np.arange(len(counts)), counts)[outside]] = True
    bad = chosen[(counts[chosen] == 0) | has_outside[chosen]]
    _check_bad_labels(config, split, index, bad, len(chosen), len(class_names))
    # Unreadable records have no id, so they cannot be held out.
    damaged = index.damaged if split != "val" or config.val else ()
    _check_damage(config, split, damaged, len(bad), len(chosen))
    dropped = [(found.record, found.reason) for found in damaged]
    dropped += [(index.name(row), _label_fault(index.labels(row), len(class_names))) for row in bad]
    members = np.setdiff1d(chosen, bad, assume_unique=True)
    if not len(members):
        first = f"; the first: {dropped[0][0]}: {dropped[0][1]}" if dropped else ""
        raise ValueError(f"{split}: expected at least one usable video, found none of {len(chosen)}{first}.")
    num_dropped = len(bad) + sum(found.num_records for found in damaged)
    return FeatureManifest(class_names, index, members, tuple(dropped), num_dropped)


def _name_dropped(split: str, manifest: FeatureManifest, on_damage: Callable[[str], None]) -> None:
    for record, reason in manifest.dropped[:_MOST_NAMED]:
        on_damage(f"{split}: {record} is left out: {reason}")
    if len(manifest.dropped) > _MOST_NAMED:
        on_damage(f"{split}: ... and {len(manifest.dropped) - _MOST_NAMED} more are left out")


def _name_empty(split: str, manifest: FeatureManifest, on_message: Callable[[str], None]) -> None:
    class_names = manifest.class_names
    empty = np.flatnonzero(manifest.class_counts() == 0)
    if len(empty):
        named = ", ".join(class_names[number] for number in empty[:_MOST_NAMED])
        on_message(f"{split}: no usable video of {len(empty)} of {len(class_names)} classes: {named}")


def _check_bad_labels(
    config: FeatureDataConfig, split: str, index: RecordIndex, bad: np.ndarray, num_videos: int, num_classes: int
) -> None:
    if len(bad) <= config.loader.max_bad_fraction * num_videos:
        return
    raise ValueError(
        f"{split}: {len(bad)} of {num_videos} videos have no label or one outside the {num_classes} classes, such as "
        f"{index.name(bad[0])}: {_label_fault(index.labels(bad[0]), num_classes)}; check data.num_classes or "
        "data.classes (more than data.loader.max_bad_fraction allows)."
    )


def _check_damage(
    config: FeatureDataConfig, split: str, damaged: Sequence[Damage], num_bad_labels: int, num_readable: int
) -> None:
    num_lost = sum(found.num_records for found in damaged)
    num_videos = num_readable + num_lost
    if not num_lost or num_lost + num_bad_labels <= config.loader.max_bad_fraction * num_videos:
        return
    first = next(found for found in damaged if found.num_records)
    also = f"; {num_bad_labels} more have bad labels" if num_bad_labels else ""
    raise ValueError(
        f"{split}: about {num_lost} of {num_videos} videos are unreadable, such as {first.record}: {first.reason}"
        f"{also}; download them again, or exclude them (more than data.loader.max_bad_fraction allows)."
    )


def _label_fault(labels: np.ndarray, num_classes: int) -> str:
    if not len(labels):
        return "it has no label"
    return f"expected labels from 0 to {num_classes - 1}, found {labels.tolist()}"


def _lengths(ends: np.ndarray) -> np.ndarray:
    return np.diff(ends, prepend=0)
