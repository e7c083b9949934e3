"""What a data set's page measures: keyframes of some files, and the time to decode a clip."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dali_pipes.decode.cost import Keyframes, count_decoded, find_keyframes, spread_sample
from dali_pipes.loader.clip_reader import ClipReader
from dali_pipes.loader.decoder_choice import BY_PYAV
from dali_pipes.manifest.manifest import ManifestRow
from dali_pipes.packets.packet_index import start_distances
from dali_pipes.sampling.clip_plan import VideoShape, plan_clip
from dali_pipes.sampling.spec import rules_from_config
from dali_pipes.sampling_config import SamplingConfig
from dali_pipes.scan.index_reader import IndexReader
from dali_pipes.video_info import VideoInfo

NUM_SAMPLED = 200
NUM_DECODED = 8


@dataclass(frozen=True)
class DecodeTime:
    """CPU milliseconds of one core for a clip of ``num_frames``, one number per sampled file."""

    num_frames: int
    cpu_ms: tuple[float, ...]


def sample_keyframe_distances(video_info: Mapping[Path, VideoInfo]) -> dict[Path, Sequence[int]]:
    """Keyframe distances, in packets, of at most ``NUM_SAMPLED`` usable files: from the packet index, or without one
    by reading the packets; nothing is decoded."""
    usable = [path for path, found in video_info.items() if found.usable]
    indexes = IndexReader()
    distances: dict[Path, Sequence[int]] = {}
    for path in spread_sample(usable, NUM_SAMPLED):
        index = video_info[path].packets
        if index is None:
            distances[path] = find_keyframes(path).distances
        else:
            distances[path] = start_distances(indexes.read(index, video_info[path].num_packets).packets_P)
    return distances


def measure_decode(video_info: Mapping[Path, VideoInfo], *, num_frames: int) -> DecodeTime:
    """Read a clip of the middle frames of equal segments, cropped to the central square, from a few usable files, as a
    worker with the PyAV decoder does."""
    usable = [path for path, found in video_info.items() if found.usable]
    chosen = spread_sample(usable, NUM_DECODED)
    reader = ClipReader(BY_PYAV)
    rules = rules_from_config(SamplingConfig(num_frames=num_frames, test_crop_ratio=1), view_size=(1, 1), mode="eval")
    times_ms = []
    for path in [*chosen[:1], *chosen]:  # the first one twice, as a warmup
        row = ManifestRow(path, 0, video_info[path])
        shape = VideoShape(row.video_info.num_frames, *row.upright_size, row.upright_pixel_aspect)
        plan = plan_clip(rules, shape, seed=0, position=0, attempt=0, row=0)
        start_s = time.process_time()
        reader.read(plan, row)
        times_ms.append(1000 * (time.process_time() - start_s))
    return DecodeTime(num_frames, tuple(times_ms[1:]))


def mean_decoded(distances: Mapping[Path, Sequence[int]], num_frames: int) -> tuple[float, float]:
    """Mean frames decoded for a clip over the videos: from the first frame, and from keyframes."""
    counts = [count_decoded(Keyframes.from_distances(each), num_frames) for each in distances.values()]
    return float(np.mean([c.from_start for c in counts])), float(np.mean([c.from_keyframes for c in counts]))
