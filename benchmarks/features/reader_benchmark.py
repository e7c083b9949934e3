"""Measures the cost of reading frame-level records: our reader, our loader, a loop over the `tfrecord` package."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from dali_pipes.features.config import FeatureDataConfig
from dali_pipes.features.loader import FeatureLoader
from dali_pipes.features.manifest import FeatureManifest, build_feature_manifests
from dali_pipes.features.sequence_example import write_video
from dali_pipes.features.source import FeatureSource
from dali_pipes.features.tfrecord import RecordWriter
from dali_pipes.sampling.order import ReadingOrder
from reskd.profiling.measurement_rows import quantiles

GROUPS = {"rgb": 1024, "audio": 128}
BATCH = 128
ORDER = ReadingOrder(mode="eval", batch_size=BATCH)


def measure(folder: Path, num_videos: int, num_frames: int, num_threads: int, rounds: int) -> list[dict[str, object]]:
    """A row of the CSV per candidate."""
    write_records(folder / "train.tfrecord", num_videos, num_frames)
    config = FeatureDataConfig.model_validate(
        {
            "kind": "features",
            "root": folder,
            "train": "train.tfrecord",
            "num_classes": 1,
            "groups": GROUPS,
            "max_frames": num_frames,
            "views": {"teacher": {}, "student": {"num_frames": min(30, num_frames)}},
            "loader": {"num_threads": num_threads},
        }
    )
    manifest = build_feature_manifests(config, seed=0, splits=("train",))["train"]
    batch_NTD = np.ones((BATCH, num_frames, config.feature_dim), np.uint8)
    loader = FeatureLoader(manifest, config, order=ORDER, views=("teacher", "student"))
    candidates: dict[str, Callable[[], int]] = {
        "reader": lambda: read_all(manifest, config, batch_NTD),
        "loader": lambda: sum(int((~batch.padding_N).sum()) for batch in loader),
        "tfrecord": lambda: loop_over_package(folder / "train.tfrecord", batch_NTD),
    }
    seconds = _take_turns(candidates, num_videos, rounds)
    loader.close()
    ours = {name: quantiles([num_videos / cpu for cpu, _ in spent]) for name, spent in seconds.items()}
    return [
        {
            "candidate": name,
            "videos": num_videos,
            "frames": num_frames,
            "features": config.feature_dim,
            "reading_threads": num_threads if name == "loader" else 1,
            "rounds": rounds,
            "videos_per_cpu_s_p20": round(low, 1),
            "videos_per_cpu_s": round(median, 1),
            "videos_per_cpu_s_p80": round(high, 1),
            "videos_per_s": round(quantiles([num_videos / wall for _, wall in seconds[name]])[1], 1),
            "times_tfrecord": round(median / ours["tfrecord"][1], 2),
        }
        for name, (low, median, high) in ours.items()
    ]


def _take_turns(
    candidates: Mapping[str, Callable[[], int]], num_videos: int, rounds: int
) -> dict[str, list[tuple[float, float]]]:
    """(cpu, wall) seconds of each candidate, a pair per round."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in candidates}
    for number in range(rounds + 1):
        for name, run in candidates.items():
            cpu, wall = time.process_time(), time.perf_counter()
            found = run()
            spent = time.process_time() - cpu, time.perf_counter() - wall
            assert found == num_videos
            if number:  # the first round warms up
                seconds[name].append(spent)
    return seconds


def write_records(path: Path, num_videos: int, num_frames: int) -> None:
    random = np.random.default_rng(0)
    with RecordWriter(path) as writer:
        for number in range(num_videos):
            groups = {name: random.integers(0, 256, (num_frames, dim), np.uint8) for name, dim in GROUPS.items()}
            write_video(writer, video_id=f"v{number}", labels=[0], groups=groups)


def read_all(manifest: FeatureManifest, config: FeatureDataConfig, batch_NTD: np.ndarray) -> int:
    source = FeatureSource(manifest, config.groups, config.max_frames, ORDER, 1)
    for row in range(len(manifest)):
        video, start = source.read(row, row), 0
        for frames_Td in video.groups:
            stop = start + frames_Td.shape[1]
            batch_NTD[row % BATCH, : len(frames_Td), start:stop] = frames_Td
            start = stop
    return len(manifest)


def loop_over_package(path: Path, batch_NTD: np.ndarray) -> int:
    from tfrecord.reader import sequence_loader

    number = -1
    for number, (_, features) in enumerate(sequence_loader(str(path), None, None, dict.fromkeys(GROUPS, "byte"))):
        start = 0
        for name, dim in GROUPS.items():
            frames_Td = np.frombuffer(b"".join(features[name]), np.uint8).reshape(-1, dim)
            batch_NTD[number % BATCH, : len(frames_Td), start : start + dim] = frames_Td
            start += dim
    return number + 1
