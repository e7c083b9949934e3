"""The charts of a data set's page: length, size, codec, keyframes, bytes and classes; titles say what they show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from dali_pipes.video_info import VideoInfo
from reskd.pages.bar_charts import Bar, bar_chart, histogram
from reskd.pages.svg import Chart
from reskd.statistics.shown import counted

_MOST_BARS = 12


def data_charts(
    usable: Sequence[VideoInfo], distances: Mapping[Path, Sequence[int]], labels: Mapping[str, Sequence[str]]
) -> list[Chart]:
    """Histograms and bars; those of classes for each list in ``labels``."""
    lengths = [found.num_frames for found in usable]
    sides = [min(found.width, found.height) for found in usable]
    sizes = [found.file_size / found.num_frames for found in usable]
    gaps = [distance for each in distances.values() for distance in each]
    charts = {
        "length": histogram(f"Length: {_spread(lengths)} frames", lengths, x_title="frames"),
        "short side": histogram(f"Short side: {_spread(sides)} pixels", sides, x_title="short side, pixels"),
        "bytes": histogram(f"Bytes a frame: {_spread(sizes)}", sizes, x_title="bytes a frame"),
    }
    if gaps:
        of = f"keyframe distance, packets ({counted(len(distances), 'file')})"
        title = f"Keyframes: {_spread(gaps)} packets apart"
        charts["keyframes"] = histogram(title, gaps, x_title=of, counted="keyframes")
    charts["codecs"] = _codecs(Counter(found.codec for found in usable))
    charts |= {f"classes {name}": _classes(name, Counter(found)) for name, found in labels.items() if found}
    return [chart._replace(key=key) for key, chart in charts.items()]


def _spread(values: Sequence[float]) -> str:
    low, median, high = np.percentile(values, (5, 50, 95))
    if f"{low:.0f}" == f"{high:.0f}":
        return f"nearly all {median:.0f}"
    return f"median {median:.0f}, 90 % from {low:.0f} to {high:.0f}"


def _codecs(counts: Counter[str]) -> Chart:
    whole = counts.total()
    bars = [Bar(name, count, f"{count:,}") for name, count in counts.most_common(_MOST_BARS)]
    first, most = counts.most_common(1)[0]
    return bar_chart(f"Codecs: {100 * most / whole:.0f} % {first}", bars, x_title="videos")


def _classes(name: str, counts: Counter[str]) -> Chart:
    """A bar a class, or of many classes a histogram of their sizes."""
    (_, most), (_, least) = counts.most_common(1)[0], counts.most_common()[-1]
    title = f"{name}: {counted(len(counts), 'class') if len(counts) == 1 else f'{len(counts):,} classes'}"
    title += f" of {least:,} to {most:,} videos" if least < most else f" of {most:,} videos each"
    if len(counts) <= _MOST_BARS:
        return bar_chart(title, [Bar(*one, f"{one[1]:,}") for one in counts.most_common()], x_title="videos")
    return histogram(title, list(counts.values()), x_title="videos of a class", counted="classes")
