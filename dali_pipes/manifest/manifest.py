"""The table of usable videos: one row each, as memory-mapped arrays that every worker opens by path.

With 250,000 videos it must cost neither memory per worker nor minutes: rows have a fixed size, paths are concatenated
in one array of bytes, and nothing is pickled.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np

from dali_pipes.annotations.lists import LabeledVideo
from dali_pipes.checksums import checksum_of_array, checksum_of_json
from dali_pipes.manifest.rows import to_facts, to_rows
from dali_pipes.storage_spec import VIDEO_FILES, Storage, split_path
from dali_pipes.video_info import VideoInfo

SCHEMA_VERSION = 5


@dataclass(frozen=True)
class ManifestRow:
    """One usable video.

    Args:
        path: path of its file or folder of frames; for a video in a shard, shard and name under the manifest's root.
        video_info: without reasons: health is "ok" or "cut".
        template: template of the frames' file names; empty for a video file.
        shard: path or URL of the tar file that holds it; empty if there is none.
    """

    path: Path
    label: int
    video_info: VideoInfo
    template: str = ""
    shard: str = ""

    @property
    def upright_size(self) -> tuple[int, int]:
        """(height, width) in pixels after rotation."""
        stored = (self.video_info.height, self.video_info.width)
        return stored if self.video_info.rotation % 180 == 0 else (stored[1], stored[0])

    @property
    def upright_pixel_aspect(self) -> float:
        """Width over height of a pixel after rotation."""
        stored = self.video_info.pixel_aspect
        return stored if self.video_info.rotation % 180 == 0 else 1 / stored


@dataclass(frozen=True)
class Manifest:
    """Usable videos of one split.

    Args:
        root: folder that the paths are relative to.
        class_names: names in the order of the labels.
        rows: structured array (M,) of type ``rows.ROW``.
        path_bytes: uint8, all paths concatenated.
        label_numbers: int32, all labels of all rows concatenated.
        num_listed: number of videos in the list, including dropped ones.
        dropped: (path, reason) of listed videos without a decodable frame.
        parts: the packet index files, in the scan's folder.
        storage: how the videos are stored.
        folder: folder of the saved manifest, if it was saved.
    """

    root: Path
    class_names: tuple[str, ...]
    rows: np.ndarray
    path_bytes: np.ndarray
    label_numbers: np.ndarray
    num_listed: int
    dropped: tuple[tuple[str, str], ...] = ()
    parts: tuple[Path, ...] = ()
    storage: Storage = VIDEO_FILES
    folder: Path | None = None

    @staticmethod
    def from_video_info(
        root: Path,
        class_names: Sequence[str],
        videos: Sequence[LabeledVideo],
        video_info: dict[str, VideoInfo],
        storage: Storage = VIDEO_FILES,
    ) -> Manifest:
        """Make rows for the usable videos, in the order of the list; the others are ``dropped``.

        Raises:
            ValueError: no video is usable.
        """
        usable = [video for video in videos if video_info[video.path].usable]
        dropped = tuple((v.path, video_info[v.path].health) for v in videos if not video_info[v.path].usable)
        if not usable:
            raise ValueError(
                f"expected at least one usable video under {root}, found none among {len(videos)}"
                + (f"; the first is {dropped[0][0]} ({dropped[0][1]})." if dropped else ".")
            )
        names = [os.fsencode(video.path) for video in usable]
        rows, parts = to_rows([video_info[video.path] for video in usable])
        rows["label"] = [video.label for video in usable]
        rows["path_end"] = list(accumulate(len(name) for name in names))
        rows["label_end"] = list(accumulate(len(video.labels) for video in usable))
        label_numbers = np.array([label for video in usable for label in video.labels], np.int32)
        path_bytes = np.frombuffer(b"".join(names), np.uint8)
        counts = len(videos), dropped, parts
        return Manifest(root, tuple(class_names), rows, path_bytes, label_numbers, *counts, storage)

    def __len__(self) -> int:
        return len(self.rows)

    def path(self, number: int) -> str:
        """Path of a row, relative to the root, as listed."""
        start = self.rows["path_end"][number - 1] if number else 0
        return os.fsdecode(self.path_bytes[start : self.rows["path_end"][number]].tobytes())

    def row(self, number: int) -> ManifestRow:
        """Unpack row ``number`` (0 to len - 1)."""
        row, path = self.rows[number], self.path(number)
        shard = self.storage.shard_file(self.root, split_path(path)[0]) if self.storage.kind == "shards" else ""
        video_info = to_facts(row, self.parts)
        return ManifestRow(self.root / path, int(row["label"]), video_info, self.storage.template, shard)

    @property
    def num_labels(self) -> np.ndarray:
        """int64 (M,), number of labels of each video."""
        return np.diff(self.rows["label_end"], prepend=0)

    @property
    def has_several_labels(self) -> bool:
        """Whether any video has more than one label."""
        return len(self.label_numbers) > len(self.rows)

    def labels(self, number: int) -> np.ndarray:
        """int32, all labels of a row; the first is its ``label``."""
        start = self.rows["label_end"][number - 1] if number else 0
        return self.label_numbers[start : self.rows["label_end"][number]]

    def class_counts(self) -> np.ndarray:
        """int64 (K,): number of usable videos of each class; a video with several labels counts in each."""
        return np.bincount(self.label_numbers, minlength=len(self.class_names))

    @property
    def content_hash(self) -> str:
        """sha256 over paths, labels, frame counts and file sizes; the same on another machine with the same data."""
        digest = hashlib.sha256(self.path_bytes.tobytes())
        ends, *video_info = (self.rows[name] for name in ("path_end", "num_frames", "file_size"))
        # If each video has one label, label_end carries no information.
        label_ends = [self.rows["label_end"]] if self.has_several_labels else []
        for column in (ends, self.label_numbers, *video_info, *label_ends):
            digest.update(np.ascontiguousarray(column).tobytes())
        digest.update(os.fsencode("\n".join(self.class_names)))
        return digest.hexdigest()

    def save(self, folder: Path) -> None:
        """Write rows.npy, paths.npy, labels.npy and manifest.json, which has their checksums, into a new ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {"rows": self.rows, "paths": self.path_bytes, "labels": self.label_numbers}
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", array)
        about = {
            "schema_version": SCHEMA_VERSION,
            "root": str(self.root.resolve()),
            "class_names": self.class_names,
            "num_listed": self.num_listed,
            "dropped": self.dropped,
            "checksums": {name: checksum_of_array(array) for name, array in arrays.items()},
            "parts": [str(part.resolve()) for part in self.parts],
            "storage": asdict(self.storage),
        }
        about["checksum"] = checksum_of_json(about)
        (folder / "manifest.json").write_text(json.dumps(about, indent=1), encoding="utf-8")

    @staticmethod
    def open(folder: Path, *, verify: bool = False) -> Manifest:
        """Open a saved manifest; the arrays are memory-mapped.

        Args:
            verify: compare all bytes with the checksums that ``save`` wrote: 20 ms for 240,000 videos.

        Raises:
            ValueError: ``folder`` has no manifest, one of another version, or, with ``verify``, a damaged one.
        """
        about_path = folder / "manifest.json"
        if not about_path.is_file():
            raise ValueError(f"expected a saved manifest in {folder}, found no manifest.json.")
        about = json.loads(about_path.read_text(encoding="utf-8"))
        if about["schema_version"] != SCHEMA_VERSION:
            raise ValueError(
                f"{about_path}: expected schema version {SCHEMA_VERSION}, found {about['schema_version']}."
            )
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("rows", "paths", "labels")}
        if verify:
            found = {name: checksum_of_array(array) for name, array in arrays.items()}
            rest = {key: value for key, value in about.items() if key != "checksum"}
            if about["checksum"] != checksum_of_json(rest) or about["checksums"] != found:
                raise ValueError(f"{folder}: expected the manifest as it was written, found other bytes.")
        return Manifest(
            Path(about["root"]),
            tuple(about["class_names"]),
            arrays["rows"],
            arrays["paths"],
            arrays["labels"],
            about["num_listed"],
            tuple((path, reason) for path, reason in about["dropped"]),
            tuple(Path(part) for part in about["parts"]),
            Storage(**about["storage"]),
            folder,
        )
