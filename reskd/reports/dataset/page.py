"""Writes a page about a folder of videos: its contents, its damage, advice, and the cost of decoding it here.

It is HTML that loads nothing from elsewhere, and the same words and tables as Markdown with the charts as files.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from av.error import FFmpegError

from dali_pipes.atomic_files import atomic_write_text
from dali_pipes.decode.cost import spread_sample
from dali_pipes.file_names import printable
from dali_pipes.jobs.progress import gib
from reskd.pages import html
from reskd.pages.chart_files import write_charts
from reskd.pages.html import Thumbnail, document, lead, listed, section, table, thumbnails
from reskd.pages.odd_names import in_markdown
from reskd.pages.svg import Chart, element, escaped
from reskd.pages.tables import Table, markdown_table
from reskd.reports.dataset import tables
from reskd.reports.dataset.advice import advice
from reskd.reports.dataset.charts import data_charts
from reskd.reports.dataset.measure import DecodeTime, mean_decoded, measure_decode, sample_keyframe_distances
from reskd.reports.dataset.videos import VideoSet
from reskd.reports.thumbnails import thumbnail_of
from reskd.statistics.shown import counted

MOST_THUMBNAILS = 48
_NO_ADVICE = "Nothing to change was found."

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Content:
    """What both forms of the page show; tables by their headings."""

    title: str
    summary: str
    advice: list[str]
    charts: list[Chart]
    tables: dict[str, list[Table]]
    pictures: list[str]
    cost: list[str]


def write_data_page(
    out: Path,
    videos: VideoSet,
    *,
    num_frames: int,
    num_cores: int,
    keyframe_distances: Mapping[Path, Sequence[int]] | None = None,
) -> Path:
    """Write ``data.html``, and ``data.md`` with its charts, into ``out``, which is made; returns the first one's path.

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
    kinds, pictures = tables.kinds(usable)
    of_classes = [tables.classes(name, labels) for name, labels in videos.labels.items() if labels]
    content = _Content(
        title=videos.root.resolve().name,
        summary=_summary(videos),
        advice=advice(videos, num_frames=num_frames),
        charts=data_charts(usable, distances, videos.labels),
        tables={
            "Sizes": [tables.numbers(usable, distances)],
            "Classes": of_classes,
            "Kinds of files": [kinds],
            "Health": [tables.health(videos), tables.whole_files(usable)],
        },
        pictures=pictures,
        cost=_cost(distances, measure_decode(by_path, num_frames=num_frames), num_cores),
    )
    out.mkdir(parents=True, exist_ok=True)
    atomic_write_text(out / "data.md", printable(_markdown(content, out)))
    page = out / "data.html"
    atomic_write_text(page, _html(content, examples(videos), len(videos.video_info)))
    return page


def _summary(videos: VideoSet) -> str:
    usable = videos.usable.values()
    num_frames = sum(found.num_frames for found in usable)
    num_bytes = sum(found.file_size for found in videos.video_info.values())
    return f"{len(videos.video_info)} videos, {len(usable)} usable, {num_frames} frames, {gib(num_bytes)}."


def _cost(distances: Mapping[Path, Sequence[int]], measured: DecodeTime, num_cores: int) -> list[str]:
    from_start, from_keyframes = mean_decoded(distances, measured.num_frames)
    low, median, high = np.percentile(measured.cpu_ms, (20, 50, 80))
    clips_per_s = 1000 / np.mean(measured.cpu_ms)
    return [
        f"A clip of {measured.num_frames} frames, one from each of as many equal segments ({len(distances)} files): "
        f"{from_start:.0f} frames decoded by a decoder that starts at the first frame, {from_keyframes:.0f} by one "
        "that starts at the keyframe before each wanted frame, where a file allows that.",
        f"Measured on this machine, {len(measured.cpu_ms)} sampled files, PyAV, one thread, reading, decoding and "
        f"cropping (no resizing; files in the page cache): {median:.0f} cpu-ms a clip (20 % to 80 %: {low:.0f} to "
        f"{high:.0f}), so about {clips_per_s:.1f} clips/s a core and {num_cores * clips_per_s:.0f} clips/s "
        f"with {num_cores} free cores. A prediction, not a benchmark of the loader.",
    ]


def _markdown(content: _Content, out: Path) -> str:
    """The page as Markdown, after its charts were written."""
    files = write_charts([("data", content.charts)], out).get("data", [])
    sections = [f"# {in_markdown(content.title)}", content.summary, "## Advice"]
    sections.append("\n".join(f"- {in_markdown(line)}" for line in content.advice) or _NO_ADVICE)
    sections += [f"![{in_markdown(one.title)}]({one.path})" for one in files]
    for heading, shown in content.tables.items():
        sections += [f"## {heading}"] if shown else []
        for one in shown:
            sections += [in_markdown(one.caption)] if one.caption else []
            sections.append(markdown_table(one))
        if heading == "Kinds of files" and content.pictures:
            sections.append("\n".join(f"- {in_markdown(line)}" for line in content.pictures))
    return "\n\n".join([*sections, "## What reading costs", *content.cost]) + "\n"


def _html(content: _Content, shown_videos: Sequence[Thumbnail], num_videos: int) -> str:
    found = [
        element("h1", escaped(content.title)),
        lead([content.summary], answer=True),
        section("Advice", listed(content.advice, css="advice") if content.advice else element("p", _NO_ADVICE)),
    ]
    if shown_videos:
        of = f"{counted(len(shown_videos), 'picture')} of {counted(num_videos, 'video')}"
        hint = element("p", escaped(f"{of}: middle frames, one of each class where classes are known."))
        found.append(section("What the videos show", hint, thumbnails(shown_videos)))
    found.append(section("At a glance", html.charts(content.charts)))
    for heading, shown in content.tables.items():
        parts = [table(one) for one in shown if one.rows]
        if heading == "Kinds of files" and content.pictures:
            parts.append(listed(content.pictures))
        found += [section(heading, *parts)] if parts else []
    found.append(section("What reading costs", *(element("p", escaped(line)) for line in content.cost)))
    return document(content.title, found)


def examples(videos: VideoSet) -> list[Thumbnail]:
    """A picture of a video of each class, or of a sample where there are no classes; of many classes some."""
    of_class: defaultdict[str, list[Path]] = defaultdict(list)
    for path in videos.usable:
        for label in videos.classes.get(path, ()):
            of_class[label].append(path)
    chosen: list[tuple[str, list[Path]]] = sorted(of_class.items())
    if not chosen:
        chosen = [("", [path]) for path in spread_sample(list(videos.usable), MOST_THUMBNAILS // 4)]
    step = -(-len(chosen) // MOST_THUMBNAILS)
    return [_example(videos, label, paths) for label, paths in chosen[::step]]


def _example(videos: VideoSet, label: str, paths: Sequence[Path]) -> Thumbnail:
    path, image, missing = paths[len(paths) // 2], "", ""
    try:
        image = thumbnail_of(videos.row(path))
    except (OSError, ValueError, FFmpegError) as error:
        missing = f"cannot be read: {error}"
    lines = (("", label), ("neutral", counted(len(paths), "usable video"))) if label else ()
    name = videos.name(path)
    return Thumbnail(name, image, missing, lines, f"middle frame of {name}{f', class {label}' if label else ''}")
