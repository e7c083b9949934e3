"""What reading a clip of a training list costs on this machine, measured on a few of its videos."""

from __future__ import annotations

import csv
import math
import statistics
import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from dali_pipes.config import DataConfig
from dali_pipes.decode.cost import Keyframes, count_decoded, spread_sample
from dali_pipes.loader.clip_reader import ClipReader
from dali_pipes.loader.cpu_render import render_plan
from dali_pipes.loader.decoder_choice import DecoderRule
from dali_pipes.loader.external_source import ClipChooser
from dali_pipes.manifest.build import build_manifests
from dali_pipes.manifest.manifest import Manifest, ManifestRow
from dali_pipes.manifest.splits import videos_of_splits
from dali_pipes.packets.packet_index import select
from dali_pipes.sampling.clip_plan import ClipPlan
from dali_pipes.sampling.order import ReadingOrder
from dali_pipes.sampling.spec import rules_for_views
from dali_pipes.scan.index_reader import IndexReader

SAMPLE_VIDEOS = 16
_MOST_STATS = 2048
_TRANSCODED_GOP = 4  # as reskd prepare transcode writes by default


@dataclass(frozen=True)
class ReadingCost:
    """The mean cost of a training clip.

    Args:
        num_clips: clips that were read.
        cpu_seconds: of a worker process: reading, decoding and rendering, or what it does for DALI.
        frames_used: T.
        frames_decoded: by whatever decodes, for these frames.
        frames_after_transcoding: the same for files of ``reskd prepare transcode``.
        megapixels_by_dali: codec -> megapixels of frames that DALI decodes for a clip, over all clips.
        pyav_share: of the clips, decoded by workers.
        kib: read from files for a clip.
        cpu_spread: standard deviation of the clips' cpu_seconds over their mean.
    """

    num_clips: int
    cpu_seconds: float
    frames_used: int
    frames_decoded: float
    frames_after_transcoding: float
    megapixels_by_dali: Mapping[str, float] = field(default_factory=dict)
    pyav_share: float = 1.0
    kib: float = 0.0
    cpu_spread: float = 0.0

    @property
    def share_after_transcoding(self) -> float:
        """Of the cost, at least: rendering does not get cheaper with fewer decoded frames."""
        return min(1.0, self.frames_after_transcoding / self.frames_decoded)


def sample_of_list(config: DataConfig, folder: Path, *, seed: int) -> Manifest:
    """Some videos of the training list; only these are scanned if the list was not.

    Args:
        folder: an existing one, for a list of them.

    Raises:
        ValueError, OSError: as ``build_manifests``; or the data are not video files.
    """
    if config.storage.kind != "videos":
        raise ValueError(f"data.storage.kind={config.storage.kind}: a part of the list is taken of video files only.")
    class_names, found = videos_of_splits(config, seed, ("train",), lambda message: None, compare=False)
    videos = {Path(video.path): video for video in found["train"]}
    chosen = of_all_sizes(config.root, spread_sample(list(videos), _MOST_STATS), SAMPLE_VIDEOS)
    with (folder / "sample.csv").open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = csv.writer(file)
        rows.writerow(("path", "label"))
        rows.writerows((videos[path].path, class_names[videos[path].labels[0]]) for path in chosen)
    of_sample: dict[str, Any] = {
        "train": (folder / "sample.csv").absolute(),
        "test": None,
        "test_fraction": 0.0,
        "val_pattern": None,
    }
    of_sample |= {"list_format": "csv", "classes": None, "group_pattern": None, "val_fraction": 0.0}
    sample = DataConfig.model_validate({**config.model_dump(), **of_sample})
    return build_manifests(sample, seed=seed, splits=("train",))["train"]


def measure_reading(
    manifest: Manifest,
    config: DataConfig,
    rule: DecoderRule,
    *,
    seed: int,
    num_clips: int = SAMPLE_VIDEOS,
    most_seconds: float = math.inf,
) -> ReadingCost:
    """Read clips as a worker of the loader does, in this process; one that cannot be read is left out.

    Args:
        rule: chooses the decoder of each file.
        most_seconds: no clip is begun after this time.

    Raises:
        ValueError: no clip could be read.
    """
    views: tuple[Literal["teacher", "student"], ...] = ("teacher", "student") if config.views.teacher else ("student",)
    render = render_plan(config.views, views) if rule.device == "cpu" else None
    reader = ClipReader(rule, sparse=config.loader.sparse_decode, render=render)
    order = ReadingOrder(mode="train", batch_size=1, seed=seed)
    chooser = ClipChooser(manifest, rules_for_views(config, views, mode="train"), order)
    indexes, costs = IndexReader(), _Sums()
    started = time.monotonic()
    for position in range(num_clips):
        if position and time.monotonic() - started > most_seconds:
            break
        plan = chooser.plan(position, 0)
        row = manifest.row(plan.row)
        try:
            if not costs.cpu_seconds:
                reader.read(plan, row)  # loads libraries, which a worker does once
            cpu = time.process_time()
            reader.read(plan, row)
            cpu_seconds = time.process_time() - cpu
        except (ValueError, OSError, EOFError):
            continue
        packets = packets_of_clip(plan, row, rule, indexes, sparse=config.loader.sparse_decode)
        costs.add(cpu_seconds, plan, row, packets, rule)
    return costs.mean(config.sampling.num_frames)


def of_all_sizes(root: Path, paths: list[Path], most: int) -> list[Path]:
    """At most so many of them, at even ranks of file size, with which the cost of a clip varies most."""
    sizes = {}
    for path in paths:
        with suppress(OSError):
            sizes[path] = (root / path).stat().st_size
    ranked = sorted(sizes, key=lambda path: sizes[path]) or paths
    count = min(most, len(ranked))
    return [ranked[(2 * number + 1) * len(ranked) // (2 * count)] for number in range(count)]


class ClipPackets(NamedTuple):
    """What a clip takes from its file.

    Attributes:
        num_frames: that are decoded.
        num_bytes: that are read; without an index in proportion to the frames.
    """

    num_frames: int
    num_bytes: float


def packets_of_clip(
    plan: ClipPlan, row: ManifestRow, rule: DecoderRule, indexes: IndexReader, *, sparse: bool = True
) -> ClipPackets:
    """Packets that the loader keeps for a clip; without an index, or not ``sparse``, all frames up to the last wanted.

    Args:
        rule: chooses the decoder: only PyAV is given packets that flush it.
    """
    info = row.video_info
    packets = info.packets if sparse and not row.template else None
    if packets is None:
        num_frames = len(plan.frame_index_T) if row.template else int(plan.frame_index_T.max()) + 1
        return ClipPackets(num_frames, info.file_size * num_frames / max(1, info.num_frames))
    found = indexes.read(packets, info.num_packets)
    selection = select(found.packets_P, plan.frame_index_T, may_flush=rule.choose(info) == "pyav")
    return ClipPackets(len(selection.number_K), float(selection.size_K.sum()))


class _Sums:
    def __init__(self) -> None:
        self.by_pyav = 0
        self.cpu_seconds: list[float] = []
        self.decoded = self.bytes = self.after = 0.0
        self.megapixels: defaultdict[str, float] = defaultdict(float)

    def add(
        self, cpu_seconds: float, plan: ClipPlan, row: ManifestRow, packets: ClipPackets, rule: DecoderRule
    ) -> None:
        info = row.video_info
        num_frames, num_wanted = max(1, info.num_frames), len(plan.frame_index_T)
        self.cpu_seconds.append(cpu_seconds)
        self.decoded += packets.num_frames
        self.bytes += packets.num_bytes
        gops = [_TRANSCODED_GOP] * (num_frames // _TRANSCODED_GOP) + [num_frames % _TRANSCODED_GOP or 0]
        distances = [length for length in gops if length]
        self.after += count_decoded(Keyframes.from_distances(distances), num_wanted, num_draws=8).from_keyframes
        if rule.choose(info) == "pyav":
            self.by_pyav += 1
        else:
            self.megapixels[info.codec] += packets.num_frames * info.width * info.height / 1e6

    def mean(self, frames_used: int) -> ReadingCost:
        if not self.cpu_seconds:
            raise ValueError("expected a clip that can be read, found none; reskd prepare scan says why.")
        count, mean = len(self.cpu_seconds), statistics.fmean(self.cpu_seconds)
        return ReadingCost(
            count,
            mean,
            frames_used,
            self.decoded / count,
            self.after / count,
            {codec: sum_of / count for codec, sum_of in self.megapixels.items()},
            self.by_pyav / count,
            self.bytes / count / 1024,
            statistics.pstdev(self.cpu_seconds) / max(mean, 1e-9),
        )
