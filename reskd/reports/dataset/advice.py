"""What to do about a data set before training, in sentences; the most important first."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from dali_pipes.scan.reading_cost import describe_cost
from dali_pipes.video_info import VideoInfo
from reskd.reports.dataset.videos import VideoSet
from reskd.statistics.shown import counted

_FEW = 10  # videos of a class: a fifth of them held out is a test of one or two
_UNEVEN = 5  # times the videos of the smallest class that the largest has
_SIZES = (224, 128, 64)  # a teacher's, as reskd init chooses them
_ENOUGH = 0.75  # of the videos have the size
_MOST_NAMES = 3


def advice(videos: VideoSet, *, num_frames: int) -> list[str]:
    """Sentences on damage, copies, classes, sizes, lengths and the cost of reading; empty if nothing is to be done.

    Args:
        num_frames: of a clip.
    """
    usable = videos.usable
    return [
        *_on_damage(videos),
        *_on_copies(videos),
        *_on_classes(videos, usable),
        *_on_sizes(list(usable.values())),
        *_on_lengths(list(usable.values()), num_frames),
        *_on_reading(videos, num_frames),
    ]


def _on_damage(videos: VideoSet) -> list[str]:
    bad = [path for path, found in videos.video_info.items() if not found.usable]
    cut = [path for path, found in videos.video_info.items() if found.health.startswith("cut")]
    found = []
    if bad:
        found.append(
            f"{counted(len(bad), 'video')} cannot be read ({_some(videos, bad)}): training leaves "
            f"{_them(bad)} out. Fetch {_them(bad)} again, or take {_them(bad)} off the lists."
        )
    if cut:
        found.append(
            f"{counted(len(cut), 'video')} end{'s' if len(cut) == 1 else ''} in damage ({_some(videos, cut)}): only "
            "the frames before it are used. Fetch such files again if their end matters."
        )
    return found


def _on_copies(videos: VideoSet) -> list[str]:
    """Files of the same size whose samples are the same; the scan has hashed them."""
    by_content: defaultdict[tuple[int, int], list[Path]] = defaultdict(list)
    for path, one in videos.usable.items():
        if one.content:
            by_content[one.file_size, one.content].append(path)
    copies = [paths for paths in by_content.values() if len(paths) > 1]
    if not copies:
        return []
    number = sum(len(paths) - 1 for paths in copies)
    is_one = number == 1
    text = (
        f"{counted(number, 'video')} {'seems' if is_one else 'seem'} to be {'a copy' if is_one else 'copies'} of "
        f"{'another' if is_one else 'others'} ({' = '.join(map(videos.name, copies[0][:2]))}). Keep copies on one side "
        "of a split: training does so with files of the same bytes, and names them."
    )
    unlike = [paths for paths in copies if len({tuple(videos.classes.get(path, ())) for path in paths}) > 1]
    if unlike:
        text += f" {counted(len(unlike), 'set')} of copies {'has' if len(unlike) == 1 else 'have'} different labels: "
        text += f"see {' and '.join(map(videos.name, unlike[0][:2]))}."
    return [text]


def _on_classes(videos: VideoSet, usable: Mapping[Path, VideoInfo]) -> list[str]:
    counts = Counter(label for path in usable for label in videos.classes.get(path, ()))
    if not counts:
        return []
    found = []
    without = [path for path in usable if not videos.classes.get(path)]
    if without:
        found.append(
            f"{counted(len(without), 'video')} {'lies' if len(without) == 1 else 'lie'} in no class folder "
            f"({_some(videos, without)}): training on folders does not see {_them(without)}."
        )
    if len(counts) == 1:
        found.append("There is one class: a classifier needs two or more.")
    few = sorted((count, label) for label, count in counts.items() if count < _FEW)
    if few:
        names = ", ".join(f"{label}: {count}" for count, label in few[:_MOST_NAMES])
        found.append(
            f"{len(few)} of {len(counts)} classes {'has' if len(few) == 1 else 'have'} fewer than {_FEW} usable videos "
            f"({names}{', ...' if len(few) > _MOST_NAMES else ''}): a test on a share of them says little. Add "
            "videos, or join such classes."
        )
    (largest, most), (smallest, least) = counts.most_common(1)[0], counts.most_common()[-1]
    if most >= _UNEVEN * least and len(counts) > 1:
        found.append(
            f"The classes are uneven: {largest} has {most / least:.0f} times the videos of {smallest} ({most:,} and "
            f"{least:,}). Look at mean class accuracy beside top-1, which the large classes decide."
        )
    return found


def _on_sizes(usable: Sequence[VideoInfo]) -> list[str]:
    sides = np.array([min(found.width, found.height) for found in usable])
    share = float((sides >= _SIZES[0]).mean())
    if share >= _ENOUGH:
        return []
    fits = next((size for size in _SIZES if (sides >= size).mean() >= _ENOUGH), None)
    below = (
        f"{f'{100 * (1 - share):.0f} % of the' if share else 'All'} videos have a short side below {_SIZES[0]} pixels"
    )
    text = f"{below} (median {np.median(sides):.0f}): a teacher of {_SIZES[0]} would learn from enlarged pictures"
    if fits is None:
        return [f"{text}, and even one of {_SIZES[-1]} from many. Look for larger originals."]
    return [f"{text}; {fits} suits these videos."]


def _on_lengths(usable: Sequence[VideoInfo], num_frames: int) -> list[str]:
    short = sum(found.num_frames < num_frames for found in usable)
    if not short:
        return []
    return [
        f"{counted(short, 'video')} {'has' if short == 1 else 'have'} fewer than {num_frames} frames: frames of "
        f"{'it' if short == 1 else 'them'} repeat in a clip. If these are many, choose a smaller "
        "data.sampling.num_frames."
    ]


def _on_reading(videos: VideoSet, num_frames: int) -> list[str]:
    lines = describe_cost(videos.usable.values(), videos.root, videos.lists, num_frames=num_frames)
    sentences = [f"{line[:1].upper()}{line[1:]}" for line in lines]
    coded = describe_coded_sizes(list(videos.usable.values()))
    return sentences + coded


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
        "them; reskd prepare transcode writes sides in multiples of 16, which need none."
    ]


def _some(videos: VideoSet, paths: Sequence[Path]) -> str:
    names = ", ".join(map(videos.name, paths[:_MOST_NAMES]))
    return f"{names}, ..." if len(paths) > _MOST_NAMES else names


def _them(paths: Sequence[Path]) -> str:
    return "it" if len(paths) == 1 else "them"
