"""The table of usable videos: one row each, as memory-mapped arrays that every worker opens by path.

A quarter of a million videos must cost neither memory per worker nor minutes: rows have a fixed size, paths lie
end to end in one array of bytes, and nothing is pickled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dali_pipes.lists import LabelledVideo
from dali_pipes.scan import FileFacts, scan
from dali_pipes.splits import videos_of_splits

if TYPE_CHECKING:
    from dali_pipes.config import DataConfig

SCHEMA_VERSION = 2
# More videos in the largest class than this many times the smallest one's: said aloud.
_IMBALANCE_TO_NAME = 1.5


_ROW = np.dtype(
    [
        ("label", "<i4"),
        ("num_frames", "<i4"),
        ("num_packets", "<i4"),
        ("width", "<i4"),
        ("height", "<i4"),
        ("rotation", "<i2"),
        ("cut", "?"),
        ("codec", "S16"),
        ("pix_fmt", "S16"),
        ("matrix", "S12"),
        ("colour_range", "S8"),
        ("file_size", "<i8"),
        ("mtime_ns", "<i8"),
        ("path_end", "<i8"),
        ("label_end", "<i8"),
    ]
)


@dataclass(frozen=True)
class ManifestRow:
    """One usable video; ``facts.health`` keeps "ok" or "cut" without the reason."""

    path: Path
    label: int
    facts: FileFacts

    @property
    def upright_size(self) -> tuple[int, int]:
        """(height, width) in pixels after rotation."""
        stored = (self.facts.height, self.facts.width)
        return stored if self.facts.rotation % 180 == 0 else (stored[1], stored[0])


@dataclass(frozen=True)
class Manifest:
    """Usable videos of one split.

    Args:
        root: folder that the paths start from.
        class_names: in the order of the labels.
        rows: structured array (M,) of type ``_ROW``.
        path_bytes: uint8, all paths end to end.
        label_numbers: int32, all labels of all rows end to end.
        num_listed: videos in the list, dropped ones included.
        dropped: (path, reason) of listed videos that give not one frame.
    """

    root: Path
    class_names: tuple[str, ...]
    rows: np.ndarray
    path_bytes: np.ndarray
    label_numbers: np.ndarray
    num_listed: int
    dropped: tuple[tuple[str, str], ...] = ()

    @staticmethod
    def from_facts(
        root: Path, class_names: Sequence[str], videos: Sequence[LabelledVideo], facts: dict[Path, FileFacts]
    ) -> Manifest:
        """Rows for the usable videos, in the order of the list; the others are ``dropped``.

        Raises:
            ValueError: not one usable video.
        """
        usable = [video for video in videos if facts[root / video.path].usable]
        dropped = tuple((v.path, facts[root / v.path].health) for v in videos if not facts[root / v.path].usable)
        if not usable:
            raise ValueError(
                f"expected at least one usable video under {root}, found none among {len(videos)}"
                + (f"; the first is {dropped[0][0]} ({dropped[0][1]})." if dropped else ".")
            )
        ends = np.cumsum([len(video.path.encode()) for video in usable])
        label_ends = np.cumsum([len(video.labels) for video in usable])
        rows = np.array(
            [_to_row(v.label, facts[root / v.path], *pair) for v, *pair in zip(usable, ends, label_ends, strict=True)],
            _ROW,
        )
        label_numbers = np.array([label for video in usable for label in video.labels], np.int32)
        path_bytes = np.frombuffer("".join(video.path for video in usable).encode(), np.uint8)
        return Manifest(root, tuple(class_names), rows, path_bytes, label_numbers, len(videos), dropped)

    def __len__(self) -> int:
        return len(self.rows)

    def path(self, number: int) -> str:
        """Path of a row, relative to the root, as listed."""
        start = self.rows["path_end"][number - 1] if number else 0
        return self.path_bytes[start : self.rows["path_end"][number]].tobytes().decode()

    def row(self, number: int) -> ManifestRow:
        """Everything about row ``number`` (0 to len - 1)."""
        r = self.rows[number]
        facts = FileFacts(
            num_frames=int(r["num_frames"]),
            num_packets=int(r["num_packets"]),
            width=int(r["width"]),
            height=int(r["height"]),
            rotation=int(r["rotation"]),
            codec=r["codec"].decode(),
            pix_fmt=r["pix_fmt"].decode(),
            matrix=r["matrix"].decode(),
            colour_range=r["colour_range"].decode(),
            file_size=int(r["file_size"]),
            mtime_ns=int(r["mtime_ns"]),
            health="cut" if r["cut"] else "ok",
        )
        return ManifestRow(self.root / self.path(number), int(r["label"]), facts)

    @property
    def has_several_labels(self) -> bool:
        """Whether any video has more than one label."""
        return len(self.label_numbers) > len(self.rows)

    def labels(self, number: int) -> np.ndarray:
        """int32, all labels of a row; the first is its ``label``."""
        start = self.rows["label_end"][number - 1] if number else 0
        return self.label_numbers[start : self.rows["label_end"][number]]

    def label_sets(self, numbers: Sequence[int]) -> np.ndarray:
        """bool (len(numbers), K), True at each of a row's labels."""
        sets = np.zeros((len(numbers), len(self.class_names)), bool)
        for place, number in enumerate(numbers):
            sets[place, self.labels(number)] = True
        return sets

    def class_counts(self) -> np.ndarray:
        """int64 (K,): usable videos of each class; one of several labels counts under each."""
        return np.bincount(self.label_numbers, minlength=len(self.class_names))

    @property
    def content_hash(self) -> str:
        """sha256 over paths, labels, frame counts and file sizes; the same on another machine with the same data."""
        digest = hashlib.sha256(self.path_bytes.tobytes())
        ends, *facts = (self.rows[name] for name in ("path_end", "num_frames", "file_size"))
        # Where each video has one label, where its labels end says nothing.
        label_ends = [self.rows["label_end"]] if self.has_several_labels else []
        for column in (ends, self.label_numbers, *facts, *label_ends):
            digest.update(np.ascontiguousarray(column).tobytes())
        digest.update("\n".join(self.class_names).encode())
        return digest.hexdigest()

    def save(self, folder: Path) -> None:
        """Write rows.npy, paths.npy, labels.npy and manifest.json into ``folder``, which is made."""
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "rows.npy", self.rows)
        np.save(folder / "paths.npy", self.path_bytes)
        np.save(folder / "labels.npy", self.label_numbers)
        about = {
            "schema_version": SCHEMA_VERSION,
            "root": str(self.root.resolve()),
            "class_names": self.class_names,
            "num_listed": self.num_listed,
            "dropped": self.dropped,
            "content_hash": self.content_hash,
        }
        (folder / "manifest.json").write_text(json.dumps(about, indent=1), encoding="utf-8")

    @staticmethod
    def open(folder: Path) -> Manifest:
        """Open what ``save`` wrote; the arrays are memory maps, read as they are used.

        Raises:
            ValueError: ``folder`` holds no manifest, or one of another version.
        """
        about_path = folder / "manifest.json"
        if not about_path.is_file():
            raise ValueError(f"expected a saved manifest in {folder}, found no manifest.json.")
        about = json.loads(about_path.read_text(encoding="utf-8"))
        if about["schema_version"] != SCHEMA_VERSION:
            raise ValueError(
                f"{about_path}: expected schema version {SCHEMA_VERSION}, found {about['schema_version']}."
            )
        return Manifest(
            Path(about["root"]),
            tuple(about["class_names"]),
            np.load(folder / "rows.npy", mmap_mode="r"),
            np.load(folder / "paths.npy", mmap_mode="r"),
            np.load(folder / "labels.npy", mmap_mode="r"),
            about["num_listed"],
            tuple((path, reason) for path, reason in about["dropped"]),
        )


def build_manifests(
    config: DataConfig,
    *,
    seed: int,
    splits: Sequence[str] = ("train", "val"),
    on_message: Callable[[str], None] = lambda message: None,
    num_workers: int = 2,
) -> dict[str, Manifest]:
    """Manifests of the asked splits ("train", "val", "test"). Files not in the scan cache are decoded once.

    The test list is opened only where "test" is asked for. ``val`` is held out of the training list by group, as is
    ``test`` where ``test_fraction`` says so; a split that the config leaves empty (val_fraction 0) is left out of the
    answer when it is "val".

    Args:
        seed: of the split into groups.
        on_message: called with one sentence for each dropped or cut file and for class imbalance.
        num_workers: processes of the scan.

    Raises:
        ValueError: a list, label, group or file that is not as expected, or "test" where the config has no test list.
    """
    class_names, videos = videos_of_splits(config, seed, splits, on_message)
    wanted = [config.root / video.path for name in splits for video in videos.get(name, [])]
    _check_present(wanted, config.root)
    facts = scan(wanted, root=config.root, cache_csv=config.scan_cache, num_workers=num_workers)
    manifests = {}
    for name in splits:
        if not videos.get(name):
            continue
        manifests[name] = Manifest.from_facts(config.root, class_names, videos[name], facts)
        for video in videos[name]:
            health = facts[config.root / video.path].health
            if health != "ok":
                on_message(f"{name}: {video.path}: {health}")
        _name_imbalance(name, manifests[name], on_message)
    return manifests


def _check_present(paths: Sequence[Path], root: Path) -> None:
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise ValueError(
            f"expected the {len(paths)} listed videos under {root}, found {len(missing)} of them missing; the first is "
            f"{missing[0].relative_to(root) if missing[0].is_relative_to(root) else missing[0]}; check data.root."
        )


def _name_imbalance(split: str, manifest: Manifest, on_message: Callable[[str], None]) -> None:
    counts = manifest.class_counts()
    empty = [name for name, count in zip(manifest.class_names, counts, strict=True) if count == 0]
    if empty:
        on_message(f"{split}: no usable video of {len(empty)} classes: {', '.join(empty[:10])}")
    low, high = counts.argmin(), counts.argmax()
    if not empty and counts[high] > _IMBALANCE_TO_NAME * counts[low]:
        on_message(
            f"{split}: classes are unequal, from {counts[low]} ({manifest.class_names[low]}) to {counts[high]} "
            f"({manifest.class_names[high]}) videos"
        )


def _to_row(label: int, facts: FileFacts, path_end: int, label_end: int) -> tuple[object, ...]:
    return (
        label,
        facts.num_frames,
        facts.num_packets,
        facts.width,
        facts.height,
        facts.rotation,
        facts.health != "ok",
        facts.codec,
        facts.pix_fmt,
        facts.matrix,
        facts.colour_range,
        facts.file_size,
        facts.mtime_ns,
        path_end,
        label_end,
    )
