"""Writes a page about a folder of videos: its contents, its damage, and the cost of decoding it here."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dali_pipes.atomic_files import atomic_write_text
from dali_pipes.decode.cost import Keyframes, count_decoded, find_keyframes, spread_sample
from dali_pipes.file_names import printable
from dali_pipes.jobs.progress import gib
from dali_pipes.loader.clip_reader import ClipReader
from dali_pipes.loader.decoder_choice import BY_PYAV
from dali_pipes.manifest.manifest import ManifestRow
from dali_pipes.packets.packet_index import start_distances
from dali_pipes.sampling.clip_plan import VideoShape, plan_clip
from dali_pipes.sampling.spec import rules_from_config
from dali_pipes.sampling_config import SamplingConfig
from dali_pipes.scan.index_reader import IndexReader
from dali_pipes.scan.reading_cost import describe_cost
from dali_pipes.scan.summary import describe_pictures, kind_of
from dali_pipes.video_info import VideoInfo
from reskd.pages.odd_names import in_markdown
from reskd.reports.dataset_charts import draw_data_charts

NUM_SAMPLED = 200
NUM_DECODED = 8
_CLASSES_SHOWN = 10
# Column title -> field of VideoInfo.
_KIND_COLUMNS = {
    "codec": "codec",
    "pixel format": "pix_fmt",
    "matrix": "matrix",
    "range": "color_range",
    "rotation, degrees": "rotation",
    "mirrored": "mirrored",
    "pixel aspect": "pixel_shape",
    "video streams": "num_video_streams",
}


@dataclass(frozen=True)
class DecodeTime:
    """CPU milliseconds of one core for a clip of ``num_frames``, one number per sampled file."""

    num_frames: int
    cpu_ms: tuple[float, ...]


class VideoSet(NamedTuple):
    """Videos to report on.

    Args:
        root: the folder that gives the page its title; paths are printed relative to it.
        video_info: of every video.
        labels: for each list by name, all labels of its videos, end to end.
        lists: files of the lists, relative to the root, for the command that transcodes.
    """

    root: Path
    video_info: Mapping[Path, VideoInfo]
    labels: Mapping[str, Sequence[str]]
    lists: Sequence[Path] = ()

    @property
    def usable(self) -> dict[Path, VideoInfo]:
        return {path: found for path, found in self.video_info.items() if found.usable}


def class_folders(names: Iterable[str]) -> dict[str, list[str]]:
    """The folder of each video as its label, for ``VideoSet.labels``; nothing if no video lies in a folder.

    Args:
        names: paths relative to the root.
    """
    folders = [name.partition("/")[0] if "/" in name else "" for name in names]
    return {"class folders": [folder or "(no folder)" for folder in folders]} if any(folders) else {}


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


def write_data_page(
    out: Path,
    videos: VideoSet,
    *,
    num_frames: int,
    num_cores: int,
    keyframe_distances: Mapping[Path, Sequence[int]] | None = None,
) -> Path:
    """Write ``data.md`` and ``data.png`` into ``out``, which is made; returns the page's path.

    Args:
        num_frames: T, of the clip whose cost is measured.
        num_cores: the number of cores for which clips/s are predicted.
        keyframe_distances: in packets, for all files or some; None: those of a sample are read.

    Raises:
        ValueError: not one usable video.
    """
    by_path = videos.usable
    usable = list(by_path.values())
    if not usable:
        raise ValueError(
            f"expected at least one usable video under {videos.root}, found none among {len(videos.video_info)}."
        )
    distances = sample_keyframe_distances(by_path) if keyframe_distances is None else keyframe_distances
    decode_time = measure_decode(by_path, num_frames=num_frames)
    out.mkdir(parents=True, exist_ok=True)
    draw_data_charts(usable, distances, videos.labels, out / "data.png")
    sections = [
        f"# {in_markdown(videos.root.resolve().name)}",
        _summary(videos.video_info, usable),
        "![histograms](data.png)",
        _number_table(usable, distances),
        _kind_table(usable),
        _cost(distances, decode_time, num_cores),
        *map(in_markdown, describe_cost(usable, videos.root, videos.lists, num_frames=num_frames)),
        *describe_coded_sizes(usable),
        *(_class_table(name, found) for name, found in videos.labels.items()),
        _health_table(videos.root, videos.video_info),
        _whole_file_table(usable),
    ]
    page = out / "data.md"
    atomic_write_text(page, printable("\n\n".join(sections) + "\n"))
    return page


def _summary(video_info: Mapping[Path, VideoInfo], usable: Sequence[VideoInfo]) -> str:
    num_frames = sum(found.num_frames for found in usable)
    num_bytes = sum(found.file_size for found in video_info.values())
    return f"{len(video_info)} videos, {len(usable)} usable, {num_frames} frames, {gib(num_bytes)}."


def _number_table(usable: Sequence[VideoInfo], distances: Mapping[Path, Sequence[int]]) -> str:
    columns: dict[str, list[float]] = {
        "frames": [found.num_frames for found in usable],
        "short side, pixels": [min(found.width, found.height) for found in usable],
        "bytes a frame": [found.file_size / found.num_frames for found in usable],
        f"keyframe distance, packets ({len(distances)} files read)": [d for each in distances.values() for d in each],
    }
    rows = ["| | smallest | 5 % | median | 95 % | largest |", "|---|---|---|---|---|---|"]
    for name, values in columns.items():
        cells = " | ".join(f"{value:.0f}" for value in np.percentile(values, (0, 5, 50, 95, 100)))
        rows.append(f"| {name} | {cells} |")
    return "\n".join(rows)


def _kind_table(usable: Sequence[VideoInfo]) -> str:
    kinds = Counter(map(attrgetter(*_KIND_COLUMNS.values()), usable))
    rows = [f"| {' | '.join(_KIND_COLUMNS)} | videos |", "|---" * (len(_KIND_COLUMNS) + 1) + "|"]
    rows += [f"| {' | '.join(map(_cell, kind))} | {count} |" for kind, count in kinds.most_common()]
    return "\n".join([*rows, "", *(f"- {line}" for line in describe_pictures(usable))]).rstrip()


def _cost(distances: Mapping[Path, Sequence[int]], measured: DecodeTime, num_cores: int) -> str:
    from_start, from_keyframes = mean_decoded(distances, measured.num_frames)
    low, median, high = np.percentile(measured.cpu_ms, (20, 50, 80))
    clips_per_s = 1000 / np.mean(measured.cpu_ms)
    return (
        f"A clip of {measured.num_frames} frames, one from each of as many equal segments ({len(distances)} files): "
        f"{from_start:.0f} frames decoded by a decoder that starts at the first frame, {from_keyframes:.0f} by one "
        "that starts at the keyframe before each wanted frame, where a file allows that.\n\n"
        f"Measured on this machine, {len(measured.cpu_ms)} sampled files, PyAV, one thread, reading, decoding and "
        f"cropping (no resizing; files in the page cache): {median:.0f} cpu-ms a clip (20 % to 80 %: {low:.0f} to "
        f"{high:.0f}), so about {clips_per_s:.1f} clips/s a core and {num_cores * clips_per_s:.0f} clips/s "
        f"with {num_cores} free cores. A prediction, not a benchmark of the loader."
    )


def describe_coded_sizes(usable: Sequence[VideoInfo]) -> list[str]:
    """A sentence if a GPU's decoder is set up anew for each clip of some files, else nothing.

    DALI keeps its decoders by coded size and looks for them by the size that is shown (read in its sources).
    """
    by_nvdec = [found for found in usable if found.codec in ("h264", "hevc") and found.coded_width]
    larger = [found for found in by_nvdec if (found.coded_width, found.coded_height) != (found.width, found.height)]
    if not larger:
        return []
    most = Counter((found.width, found.height, found.coded_width, found.coded_height) for found in larger)
    width, height, coded_width, coded_height = most.most_common(1)[0][0]
    return [
        f"On a GPU: {len(larger)} of {len(by_nvdec)} H.264 and HEVC files are coded larger than they are shown (most "
        f"often {coded_width} x {coded_height} for {width} x {height}), and DALI sets up a decoder for each clip of "
        "them; `reskd prepare transcode` writes sides in multiples of 16, which need none."
    ]


def mean_decoded(distances: Mapping[Path, Sequence[int]], num_frames: int) -> tuple[float, float]:
    """Mean frames decoded for a clip over the videos: from the first frame, and from keyframes."""
    counts = [count_decoded(Keyframes.from_distances(each), num_frames) for each in distances.values()]
    return float(np.mean([c.from_start for c in counts])), float(np.mean([c.from_keyframes for c in counts]))


def _class_table(name: str, labels: Sequence[str]) -> str:
    counts = Counter(labels).most_common()
    shown = counts if len(counts) <= 2 * _CLASSES_SHOWN else [*counts[:_CLASSES_SHOWN], *counts[-_CLASSES_SHOWN:]]
    rows = [
        f"{in_markdown(name)}: {len(labels)} labels of {len(counts)} classes, {counts[-1][1]} to {counts[0][1]} each."
    ]
    if len(shown) < len(counts):
        rows[0] += f" The {_CLASSES_SHOWN} largest and the {_CLASSES_SHOWN} smallest:"
    rows += ["", "| class | videos |", "|---|---|", *(f"| {_cell(label)} | {count} |" for label, count in shown)]
    return "\n".join(rows)


def _health_table(root: Path, video_info: Mapping[Path, VideoInfo]) -> str:
    """Counts by reason; the numbers of reasons are left out, so that equal damage is counted together."""
    examples: defaultdict[str, list[str]] = defaultdict(list)
    for path, found in video_info.items():
        name = path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
        examples[kind_of(found.health)].append(name)
    rows = ["| health | videos | for example |", "|---|---|---|"]
    for reason, names in sorted(examples.items(), key=lambda item: -len(item[1])):
        rows.append(f"| {_cell(reason)} | {len(names)} | {_cell(names[0]) if reason != 'ok' else ''} |")
    return "\n".join(rows)


def _whole_file_table(usable: Sequence[VideoInfo]) -> str:
    """The reasons why files are decoded as a whole."""
    reasons = Counter(kind_of(found.whole_file) or "no: the packets it needs" for found in usable)
    rows = ["| is the whole file read for a clip? | videos |", "|---|---|"]
    return "\n".join([*rows, *(f"| {_cell(reason)} | {count} |" for reason, count in reasons.most_common())])


def _cell(value: object) -> str:
    """A value as it is, in a cell of a Markdown table."""
    text = ("no", "yes")[value] if isinstance(value, bool) else str(value)
    return in_markdown(text)
