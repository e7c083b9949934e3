"""Make synthetic videos as features with a known structure, in frame-level records, for the fewer-frames study.

Note [What a synthetic video holds]
A video is a sequence of *scenes*. Each scene has its own center; its frames drift slowly away from it, so neighbors are
nearly equal, and a cut jumps to the next. None of this depends on the labels.
Each label appears in *events*: a few consecutive frames to which the class's prototype is added, with a strength and a
disturbance that are the same for all frames of the event. So a second frame of an event adds little information, while
another event of the same label adds more. *Decoys*, events of classes that are not labels, are weaker and shorter.
Events begin anywhere, but less often at a video's start and least at its end, as in real ones (titles and credits):

    rate      start_rate at 0, rising to 1 at 0.15, 1 up to 0.7, falling to end_rate at 1

So a few evenly spread frames hit more events than as many random ones, which cluster; frames from the start hit few,
and frames from the end fewest. The paper finds the same order (Table 1: uniform, random, middle, first, last). Every
j-th frame is nearly as good as all frames if j is below an event's length. With perfect knowledge of the prototypes
(soft maximum of the frames' similarity to them; 400 test videos, defaults; benchmarks/features/oracle.py), GAP
over k = 6, 10, 15, 20, 30 is: uniform .59 .76 .85 .91 .94, random .54 .68 .78 .84 .90, middle .35 .41 .49 .54 .65,
first .17 .22 .30 .38 .53, last .17 .20 .26 .31 .42, all frames .96.

Some videos are short. A video has one to three labels; low numbers are more frequent. Values are quantized as in
YouTube-8M.

Shape letters: T frames, d features of a group, D of all groups, K classes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dali_pipes.atomic_files import atomic_write_text
from dali_pipes.features.quantization import to_bytes
from dali_pipes.features.sequence_example import encode_video
from dali_pipes.features.tfrecord import RecordWriter
from dali_pipes.json_files import read_json

GENERATOR_VERSION = 1
SPLITS = ("train", "val", "test")
ABOUT, _BEGUN = "about.json", "about.json.tmp"
_PROTOTYPES = len(SPLITS)  # first part of a random stream's key; for a video it is the split
# Ends of the ramps in Note [What a synthetic video holds].
_RISE_ENDS, _FALL_STARTS = 0.15, 0.7


@dataclass(frozen=True)
class SyntheticSpec:
    """Settings of the videos; the defaults are those of the study. ``signal`` and ``visible`` set the difficulty.

    Raises ValueError for an invalid setting.

    Args:
        seed: seed of everything.
        num_classes: K.
        groups: name -> d.
        frames: fewest and most frames of a video, except the short ones.
        short_share: fraction of videos with 4 frames up to the fewest.
        scene_frames: mean length of a scene.
        drift: distance between consecutive frames; a scene's center has length 1 in this unit.
        noise: length of each frame's independent noise.
        event_frames: shortest and longest event of a label.
        visible: mean fraction of a video's frames with a given label; each label has at least one event.
        signal: length of a prototype in an event of mean strength; a scene's center has length 1.
        disturbance: length of an event's random vector, which carries no information.
        decoys: number of events of other classes, per event of a label.
        start_rate, end_rate: frequency of events at either end, relative to the middle.
    """

    seed: int = 0
    num_classes: int = 20
    groups: Mapping[str, int] = field(default_factory=lambda: {"rgb": 48, "audio": 16})
    frames: tuple[int, int] = (60, 300)
    short_share: float = 0.05
    scene_frames: float = 15.0
    drift: float = 0.04
    noise: float = 0.1
    event_frames: tuple[int, int] = (3, 9)
    visible: float = 0.12
    signal: float = 0.9
    disturbance: float = 0.7
    decoys: float = 0.7
    start_rate: float = 0.3
    end_rate: float = 0.05

    def __post_init__(self) -> None:
        dims = self.groups.values()
        _expect(
            "groups",
            self.groups,
            "names and numbers of features from 1 on, as in {rgb: 48}",
            len(dims) > 0 and all(_is_count(dim, 1) for dim in dims),
        )
        _expect("seed", self.seed, "a whole number from 0 on", _is_count(self.seed, 0))
        _expect("num_classes", self.num_classes, "a whole number from 1 on", _is_count(self.num_classes, 1))
        for name in ("frames", "event_frames"):
            fewest, most = getattr(self, name)
            _expect(
                name,
                [fewest, most],
                "the fewest, from 1 on, and the most",
                _is_count(fewest, 1) and _is_count(most, fewest),
            )
        for name in ("short_share", "visible"):
            _expect(name, getattr(self, name), "a share from 0 to 1", 0 <= getattr(self, name) <= 1)
        _expect("scene_frames", self.scene_frames, "a mean length from 1 on", 1 <= self.scene_frames < np.inf)
        for name in ("drift", "noise", "signal", "disturbance", "decoys", "start_rate", "end_rate"):
            _expect(name, getattr(self, name), "a number from 0 on", 0 <= getattr(self, name) < np.inf)

    @property
    def feature_dim(self) -> int:
        return sum(self.groups.values())


@dataclass(frozen=True)
class SyntheticVideo:
    """One video.

    Args:
        groups: name -> uint8 (T, d).
        shows: bool (T, number of labels), which frames have which label.
    """

    video_id: str
    labels: tuple[int, ...]
    groups: dict[str, np.ndarray]
    shows: np.ndarray

    def record(self) -> bytes:
        return encode_video(video_id=self.video_id, labels=self.labels, groups=self.groups)


def prototypes(spec: SyntheticSpec) -> np.ndarray:
    """Prototypes of the classes: float64 (K, D), of length 1."""
    return _directions(_generator(spec, _PROTOTYPES, 0), spec.num_classes, spec.feature_dim)


def make_video(spec: SyntheticSpec, split: str, number: int, prototypes_KD: np.ndarray) -> SyntheticVideo:
    """Make video ``number`` of a split: a pure function of its arguments."""
    random = _generator(spec, SPLITS.index(split), number)
    num_frames = _draw_length(spec, random)
    labels = _draw_labels(spec, random)
    frames_TD = _scenes(spec, num_frames, random)
    shows = np.zeros((num_frames, len(labels)), bool)
    mean_length = sum(spec.event_frames) / 2
    for location, label in enumerate(labels):
        num_events = max(1, random.poisson(spec.visible * num_frames / mean_length))
        for event in _draw_events(spec, num_events, num_frames, random):
            shows[event, location] = True
            strength = random.uniform(0.5, 1.5) * spec.signal
            frames_TD[event] += strength * prototypes_KD[label] + spec.disturbance * _direction(spec, random)
        for decoy in _draw_events(spec, random.poisson(spec.decoys * num_events), num_frames, random):
            strength = random.uniform(0.3, 0.7) * spec.signal
            frames_TD[decoy][:2] += strength * prototypes_KD[random.integers(spec.num_classes)]
    frames_TD += spec.noise / np.sqrt(spec.feature_dim) * random.standard_normal(frames_TD.shape)
    quantized = to_bytes(frames_TD * np.sqrt(spec.feature_dim) / 2)
    ends = np.cumsum(list(spec.groups.values()))[:-1]
    parts = np.split(quantized, ends, axis=1)
    return SyntheticVideo(f"{split}{number:06d}", labels, dict(zip(spec.groups, parts, strict=True)), shows)


def write_synthetic(
    spec: SyntheticSpec,
    folder: Path,
    num_videos: Mapping[str, int],
    *,
    videos_per_file: int = 500,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> str:
    """Write train*.tfrecord, val*.tfrecord and test*.tfrecord, classes.txt and about.json; returns the content's hash.

    Args:
        folder: folder, which is created; if it has the same records, complete or not, they are written again.
        num_videos: number of videos of each split; at least one in all.

    Returns:
        sha256 over the records in order; it does not depend on their division into files.

    Raises:
        ValueError: invalid numbers of videos; or ``folder`` has other records, which would be read with these.
    """
    if set(num_videos) - set(SPLITS) or min(num_videos.values(), default=0) < 0 or not sum(num_videos.values()):
        raise ValueError(f"videos: expected numbers from 0 on, not all 0, for {SPLITS}, found {dict(num_videos)}.")
    about = {**describe_synthetic(spec, num_videos), "videos_per_file": videos_per_file}
    _claim(folder, about)
    digest, done, total = hashlib.sha256(), 0, sum(num_videos.values())
    prototypes_KD = prototypes(spec)
    for split, count in num_videos.items():
        for file, first in enumerate(range(0, count, videos_per_file)):
            with RecordWriter(folder / f"{split}{file:04d}.tfrecord") as writer:
                for number in range(first, min(first + videos_per_file, count)):
                    record = make_video(spec, split, number, prototypes_KD).record()
                    digest.update(record)
                    writer.write(record)
                    done += 1
                    on_progress(done, total)
    atomic_write_text(folder / "classes.txt", "".join(f"class{number:02d}\n" for number in range(spec.num_classes)))
    about["content_hash"] = digest.hexdigest()
    atomic_write_text(folder / ABOUT, json.dumps(about, indent=1) + "\n")
    (folder / _BEGUN).unlink()
    return digest.hexdigest()


def _claim(folder: Path, about: Mapping[str, Any]) -> None:
    """Make the folder, and write to it which records are begun."""
    folder.mkdir(parents=True, exist_ok=True)
    told = [path for path in (folder / ABOUT, folder / _BEGUN) if path.exists()]
    wanted = json.loads(json.dumps(about))
    for path in told:
        found = read_json(path, "the settings of made-up features", advice="delete the folder, or choose another")
        differing = [key for key in wanted if found.get(key) != wanted[key]]
        if differing:
            key = differing[0]
            raise ValueError(
                f"{folder} has records with other settings ({key} was {found.get(key)}, now it is {wanted[key]}); "
                "choose another folder, or delete it."
            )
    others = [path.name for split in SPLITS for path in folder.glob(f"{split}*.tfrecord")]
    if others and not told:
        raise ValueError(f"{folder} has records of another origin, such as {min(others)}; choose another folder.")
    atomic_write_text(folder / _BEGUN, json.dumps(wanted))


def _expect(name: str, found: object, expected: str, is_met: bool) -> None:
    if not is_met:
        raise ValueError(f"{name}: expected {expected}, found {found}.")


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and value >= least


def describe_synthetic(spec: SyntheticSpec, num_videos: Mapping[str, int]) -> dict[str, object]:
    """The settings in about.json, which determine the records."""
    return {"generator_version": GENERATOR_VERSION, "spec": asdict(spec), "num_videos": dict(num_videos)}


def _generator(spec: SyntheticSpec, stream: int, number: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(spec.seed, spawn_key=(stream, number))))


def _directions(random: np.random.Generator, count: int, dim: int) -> np.ndarray:
    """Random vectors: float64 (count, dim), of mean squared length 1."""
    return random.standard_normal((count, dim)) / np.sqrt(dim)


def _direction(spec: SyntheticSpec, random: np.random.Generator) -> np.ndarray:
    return _directions(random, 1, spec.feature_dim)[0]


def _draw_length(spec: SyntheticSpec, random: np.random.Generator) -> int:
    fewest, most = spec.frames
    if random.random() < spec.short_share:
        return int(random.integers(min(4, fewest), fewest + 1))
    return int(random.integers(fewest, most + 1))


def _draw_labels(spec: SyntheticSpec, random: np.random.Generator) -> tuple[int, ...]:
    frequency = 1 / (np.arange(spec.num_classes) + 5.0)
    count = min(spec.num_classes, random.choice([1, 2, 3], p=[0.5, 0.3, 0.2]))
    drawn = random.choice(spec.num_classes, count, replace=False, p=frequency / frequency.sum())
    return tuple(sorted(int(label) for label in drawn))


def _scenes(spec: SyntheticSpec, num_frames: int, random: np.random.Generator) -> np.ndarray:
    """float64 (T, D): each scene's center and the drift since its first frame."""
    is_cut = random.random(num_frames) < 1 / spec.scene_frames
    is_cut[0] = True
    scene_T = np.cumsum(is_cut) - 1
    centers = _directions(random, scene_T[-1] + 1, spec.feature_dim)
    walk_TD = np.cumsum(spec.drift * _directions(random, num_frames, spec.feature_dim), axis=0)
    return centers[scene_T] + walk_TD - walk_TD[np.flatnonzero(is_cut)[scene_T]]


def _draw_events(spec: SyntheticSpec, count: int, num_frames: int, random: np.random.Generator) -> list[slice]:
    """Draw segments of events; their first frames follow the rate in Note [What a synthetic video holds]."""
    shortest, longest = spec.event_frames
    location = (np.arange(num_frames) + 0.5) / num_frames
    rate = np.interp(location, [0, _RISE_ENDS, _FALL_STARTS, 1], [spec.start_rate, 1, 1, spec.end_rate])
    starts = random.choice(num_frames, count, p=rate / rate.sum())
    return [
        slice(start, start + length)
        for start, length in zip(starts, random.integers(shortest, longest + 1, count), strict=True)
    ]
