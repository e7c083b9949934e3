"""Draws the picture of a data page: histograms of length, size, codec, keyframe distance, bytes and classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dali_pipes.atomic_files import atomic_open
from dali_pipes.video_info import VideoInfo
from reskd.pages.odd_names import in_picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NUM_BINS = 40


def draw_data_charts(
    usable: Sequence[VideoInfo],
    keyframe_distances: Mapping[Path, Sequence[int]],
    labels: Mapping[str, Sequence[str]],
    path: Path,
) -> None:
    """Write a PNG of six panels; the last stays empty without ``labels``."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14.4, 7.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 3).ravel()
    _histogram(axes[0], [found.num_frames for found in usable], "length, frames")
    _histogram(axes[1], [min(found.width, found.height) for found in usable], "short side, pixels")
    _bars(axes[2], Counter(found.codec for found in usable))
    _histogram(
        axes[3],
        [distance for each in keyframe_distances.values() for distance in each],
        f"keyframe distance, packets ({len(keyframe_distances)} files)",
        counted="keyframes",
    )
    _histogram(axes[4], [found.file_size / found.num_frames for found in usable], "bytes a frame")
    _classes(axes[5], labels)
    with atomic_open(path) as file:
        figure.savefig(file, format="png", dpi=100)


def _histogram(axes: Axes, values: Sequence[float], name: str, *, counted: str = "videos") -> None:
    """Draw a histogram with logarithmic bins, as lengths and sizes of a data set span powers of ten."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    low, high = min(values), max(values)
    edges = np.geomspace(max(low, 0.5) * 0.97, high * 1.03, _NUM_BINS + 1)
    axes.hist(values, bins=edges.tolist(), color="C0")
    axes.set(xlabel=name, ylabel=counted)
    if high > 4 * low:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.3)


def _bars(axes: Axes, counts: Counter[str]) -> None:
    names, heights = zip(*counts.most_common(), strict=True)
    bars = axes.barh(names, heights, height=0.6, color="C0")
    axes.bar_label(bars, padding=2)
    axes.set(xlabel="videos", ylabel="codec", ylim=(max(len(names), 4) - 0.5, -0.5))
    axes.margins(x=0.15)


def _classes(axes: Axes, labels: Mapping[str, Sequence[str]]) -> None:
    if not labels:
        axes.set_axis_off()
        return
    for name, found in labels.items():
        counts = [count for _, count in Counter(found).most_common()]
        axes.step(range(len(counts) + 1), [*counts, counts[-1]], where="post", label=in_picture(name))
    axes.set(xlabel="class, the largest first", ylabel="videos", ylim=(0, None))
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
