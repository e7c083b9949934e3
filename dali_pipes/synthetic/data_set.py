"""Write the demo data set: lists and encoded videos of the clips that videos.py renders.

Its folder has train/, test/, train.csv and test.csv (path,label,group), classes.txt and dataset.json. A group is a
scene: clips with the same background. dataset.json has the settings, the hash of all rendered pixels and labels, which
is the same on every machine, and the hash of the encoded files, which another FFmpeg may write differently.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np

from dali_pipes.atomic_files import atomic_folder
from dali_pipes.choices import DemoFormat
from dali_pipes.jobs.map_files import process_pool
from dali_pipes.json_files import parse_json
from dali_pipes.synthetic.video_files import CODECS, encode
from dali_pipes.synthetic.videos import CLASSES, GENERATOR_VERSION, SPLITS, render_scene_clips

DESCRIPTION = "dataset.json"
MIXED_SHARES = {"vp9": 0.05, "mjpeg": 0.05}  # of the clips; the others are H.264


@dataclass(frozen=True)
class Settings:
    """Settings that determine the pixels and the files."""

    seed: int
    num_train: int
    num_test: int
    format: DemoFormat

    def __post_init__(self) -> None:
        for name in ("num_train", "num_test"):
            count, step = getattr(self, name), len(CLASSES)
            if count < step or count % step:
                raise ValueError(
                    f"--{name.replace('_', '-')}: expected a positive multiple of {step}, the number of classes, "
                    f"found {count}; try {max(1, round(count / step)) * step}."
                )
        if self.seed < 0:
            raise ValueError(f"--seed: expected 0 or more, found {self.seed}.")


class Scene(NamedTuple):
    """One scene to render and write under ``root``."""

    settings: Settings
    root: Path
    split: str
    number: int


class WrittenClip(NamedTuple):
    """A written file: its line in the list, its codec, its two digests."""

    path: str
    label: str
    group: str
    codec: str
    rendered_sha256: str
    encoded_sha256: str


def read_description(out: Path) -> dict[str, Any] | None:
    """Read dataset.json of a demo data set; None if there is none."""
    try:
        description = parse_json((out / DESCRIPTION).read_bytes())
    except (OSError, ValueError):
        return None
    return description if isinstance(description, dict) and "generator_version" in description else None


def holds_data_set(out: Path, settings: Settings) -> bool:
    """Whether ``out`` is a complete data set of these settings."""
    description = read_description(out)
    wanted = {"generator_version": GENERATOR_VERSION, "settings": asdict(settings)}
    if description is None or any(description.get(key) != value for key, value in wanted.items()):
        return False
    lists = [out / f"{split}.csv" for split in SPLITS]
    return all(path.is_file() for path in lists) and all(
        (out / row["path"]).is_file() for path in lists for row in csv.DictReader(path.read_text().splitlines())
    )


def refuse_to_replace(out: Path, *, overwrite: bool) -> None:
    """Raise FileExistsError unless ``out`` is absent, an empty folder, or a demo data set and ``overwrite`` is set."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if read_description(out) is None:
        raise FileExistsError(
            f"{out}: expected no folder or a demo data set, found something else; choose another OUT."
        )
    if not overwrite:
        raise FileExistsError(
            f"{out} holds another demo data set, or one with missing files; "
            "choose another OUT, or replace it with --overwrite."
        )


def make_data_set(
    out: Path,
    settings: Settings,
    *,
    num_workers: int,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Write everything to a folder beside ``out``, then rename it; ``out`` is complete or absent.

    Args:
        on_progress: called with (clips written, number of clips).

    Returns:
        The content of dataset.json.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_folder(out, replace=True) as root:
        clips = write_clips(settings, root, num_workers=num_workers, on_progress=on_progress)
        description = describe(settings, clips)
        for split in SPLITS:
            write_list(root / f"{split}.csv", [clip for clip in clips if clip.path.startswith(f"{split}/")])
        (root / "classes.txt").write_text("".join(f"{name}\n" for name in CLASSES))
        (root / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n")
    return description


def write_clips(
    settings: Settings, root: Path, *, num_workers: int, on_progress: Callable[[int, int], None]
) -> list[WrittenClip]:
    """Write all clips of both splits, in an order that does not depend on ``num_workers``."""
    counts = dict(zip(SPLITS, (settings.num_train, settings.num_test), strict=True))
    for split in SPLITS:
        for label in CLASSES:
            (root / split / label).mkdir(parents=True)
    scenes = [Scene(settings, root, split, k) for split in SPLITS for k in range(counts[split] // len(CLASSES))]
    clips: list[WrittenClip] = []
    with written_scenes(scenes, num_workers) as results:
        for written in results:
            clips += written
            on_progress(len(clips), sum(counts.values()))
    return clips


@contextmanager
def written_scenes(scenes: Sequence[Scene], num_workers: int) -> Iterator[Iterator[list[WrittenClip]]]:
    """Write the scenes in this process or, with two or more workers, in other processes."""
    if num_workers == 1:
        yield map(write_scene, scenes)
        return
    with process_pool(num_workers) as pool:
        try:
            yield pool.map(write_scene, scenes, chunksize=4)
        finally:
            pool.shutdown(cancel_futures=True)  # Ctrl-C does not wait for scenes not yet begun


def write_scene(scene: Scene) -> list[WrittenClip]:
    """Render and encode the clips of one scene."""
    written = []
    for clip in render_scene_clips(scene.settings.seed, split=scene.split, scene=scene.number):
        name = choose_codec(scene.settings, f"{clip.scene} {clip.label}")
        path = f"{scene.split}/{clip.label}/{clip.scene}{CODECS[name].suffix}"
        encode(scene.root / path, clip.frames_THWC, CODECS[name])
        rendered = hashlib.sha256(f"{clip.scene} {clip.label}\n".encode() + clip.frames_THWC.tobytes()).hexdigest()
        encoded = hashlib.sha256((scene.root / path).read_bytes()).hexdigest()
        written.append(WrittenClip(path, clip.label, clip.scene, name, rendered, encoded))
    return written


def choose_codec(settings: Settings, clip_name: str) -> str:
    """Choose the codec of a clip: for "mixed", at random by a hash of the clip's name and the seed."""
    if settings.format != "mixed":
        return settings.format
    digest = hashlib.sha256(f"{settings.seed} {clip_name}".encode()).digest()
    draw = int.from_bytes(digest[:4], "big") / 2**32
    for name, share in MIXED_SHARES.items():
        if draw < share:
            return name
        draw -= share
    return "h264"


def write_list(path: Path, clips: Sequence[WrittenClip]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("path", "label", "group"))
        writer.writerows((clip.path, clip.label, clip.group) for clip in clips)


def describe(settings: Settings, clips: Sequence[WrittenClip]) -> dict[str, Any]:
    """Make the content of dataset.json."""

    def digest(parts: Sequence[str]) -> str:
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    return {
        "generator_version": GENERATOR_VERSION,
        "settings": asdict(settings),
        "classes": list(CLASSES),
        "num_clips": len(clips),
        "codecs": dict(sorted(Counter(clip.codec for clip in clips).items())),
        "rendered_sha256": digest([clip.rendered_sha256 for clip in clips]),
        "encoded_sha256": digest([clip.encoded_sha256 for clip in clips]),
        "written_with": {"av": av.__version__, "numpy": np.__version__},
    }
