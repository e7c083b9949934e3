"""Summarize a scan in a few lines: damage is named file by file, sound peculiarities are counted by kind."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from dali_pipes.file_names import on_one_line
from dali_pipes.video_info import VideoInfo

# Numbers that stand alone: not those of names (h264), of formats (4:4:4), or of versions.
_NUMBER = re.compile(r"(?<![\w:.])(?<!PyAV )\d+(?![\w:]|\.\d)")


def kind_of(reason: str) -> str:
    """A reason without its numbers, so that equal ones are counted together."""
    return _NUMBER.sub("N", reason.removesuffix(")").rpartition(" (packet ")[0] or reason)


def describe_scan(video_info: Mapping[str, VideoInfo]) -> list[str]:
    """Lines on the scan's results; every damaged file is named."""
    kinds = _count_health(found.health for found in video_info.values())
    lines = [f"{on_one_line(name)}: {found.health}" for name, found in video_info.items() if found.health != "ok"]
    lines.append(f"{len(video_info)} files: {kinds['ok']} sound, {kinds['cut']} cut, {kinds['bad']} bad")
    num_indexed = sum(found.usable and not found.whole_file for found in video_info.values())
    lines.append(f"{num_indexed} have a packet index: a clip reads and decodes only what it needs")
    whole = Counter(kind_of(found.whole_file) for found in video_info.values() if found.health == "ok")
    del whole[""]
    if whole:
        reasons = "; ".join(f"{reason} ({count})" for reason, count in whole.most_common())
        lines.append(f"{whole.total()} sound files are read whole for a clip: {reasons}")
    return lines + describe_pictures(list(video_info.values()))


def describe_pictures(video_info: Sequence[VideoInfo]) -> list[str]:
    """Lines on pictures that are not stored as they are shown, if there are any."""
    usable = [found for found in video_info if found.usable]
    counts = {
        "are turned or mirrored to be upright": sum(found.rotation != 0 or found.mirrored for found in usable),
        "have pixels that are not square": sum(found.pixel_width != found.pixel_height for found in usable),
        "have several video streams": sum(found.num_video_streams > 1 for found in usable),
        "(H.264, HEVC) are coded larger than shown, as 1080 lines in 1088: on a GPU each clip costs a new decoder; "
        "transcoded files do not": sum(_costs_a_decoder(found) for found in usable),
    }
    lines = [f"{count} {what}" for what, count in counts.items() if count]
    odd = Counter(found.notes for found in usable if found.notes)
    return lines + [f"{count}: {note}" for note, count in odd.most_common()]


def _costs_a_decoder(video_info: VideoInfo) -> bool:
    """DALI compares the coded size with the stored decoder's shown size (DALI 2.4, read in its sources)."""
    coded = video_info.coded_width, video_info.coded_height
    shown = video_info.width, video_info.height
    return video_info.codec in ("h264", "hevc") and coded not in (shown, (0, 0))


def describe_damage(healths: Iterable[str]) -> str:
    """How many files are damaged, by their ``VideoInfo.health``; "" if none is."""
    kinds = _count_health(healths)
    if not kinds["cut"] + kinds["bad"]:
        return ""
    return f"{kinds['cut'] + kinds['bad']} of {kinds.total()} files are damaged: {kinds['cut']} cut, {kinds['bad']} bad"


def _count_health(healths: Iterable[str]) -> Counter[str]:
    kinds: Counter[str] = Counter()
    for health, count in Counter(healths).items():
        kinds[health.partition(":")[0]] += count
    return kinds
