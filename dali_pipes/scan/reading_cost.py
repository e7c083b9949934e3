"""Estimate from a scan what reading clips costs, compared with transcoded files; nothing is opened or decoded.

Note [Model of reading]: a clip costs CPU time for opening its file, and for each decoded frame time for its bytes and
its pixels. The constants were fitted to 40 files of UCF101 and of other projects' tests (2 cores, FFmpeg 8, PyAV 18).
For 14 files of UCF101 the estimated factor is 1.68 and the measured one 1.59, for the 26 others 14.5 and 14.5; for
single files, they differ by less than a factor of 2 in 37 of 40 cases.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from dali_pipes.packets.packet_index import start_distances
from dali_pipes.scan.index_reader import IndexReader
from dali_pipes.video_info import VideoInfo

NUM_SAMPLED, _NUM_DRAWS = 64, 64
WORTH_SAYING = 2.0
_OPEN_MS, _MS_PER_BYTE = 0.6, 24.5e-6
_MS_PER_PIXEL = {"mpeg4": 0.2e-6, "av1": 1.1e-6, "hevc": 2.0e-6}  # of a decoded frame
_MS_PER_PIXEL_ELSE, _MS_PER_PIXEL_TRANSCODED = 1.8e-6, 1.4e-6
_TRANSCODED_BYTES_PER_PIXEL, _TRANSCODED_SHORT_SIDE, _TRANSCODED_GOP = 0.05, 256, 4


def reading_factor(video_info: Iterable[VideoInfo], *, num_frames: int = 8) -> float:
    """How many times the CPU time of transcoded files it takes to read clips from these; 1 if none is usable.

    Args:
        video_info: of video files; of many, a sample is looked at.
        num_frames: frames of a clip, one from each of as many equal segments.
    """
    usable = [found for found in video_info if found.usable and found.file_size]
    indexes = IndexReader()
    now = then = 0.0
    for found in usable[:: -(-len(usable) // NUM_SAMPLED) or 1]:
        try:
            index = indexes.read(found.packets, found.num_packets) if found.packets else None
        except (OSError, ValueError):  # the index is gone: the clip reader then reads the whole file
            index = None
        distances = [found.num_frames] if index is None else start_distances(index.packets_P)
        pixels = found.width * found.height
        small = pixels * min(1.0, _TRANSCODED_SHORT_SIDE / max(1, min(found.width, found.height))) ** 2
        now += _clip_ms(
            mean_decoded(distances, num_frames, from_start=index is None),
            found.file_size / max(1, found.num_packets),
            pixels * _MS_PER_PIXEL.get(found.codec, _MS_PER_PIXEL_ELSE),
        )
        gops = [_TRANSCODED_GOP] * -(-found.num_frames // _TRANSCODED_GOP)
        then += _clip_ms(
            mean_decoded(gops, num_frames), small * _TRANSCODED_BYTES_PER_PIXEL, small * _MS_PER_PIXEL_TRANSCODED
        )
    return now / then if then else 1.0


def _clip_ms(num_decoded: float, num_bytes: float, pixels_ms: float) -> float:
    return _OPEN_MS + num_decoded * (num_bytes * _MS_PER_BYTE + pixels_ms)


def mean_decoded(distances: Sequence[int], num_frames: int, *, from_start: bool = False) -> float:
    """Mean number of frames decoded for random frames of equal segments, each from the start before it.

    Args:
        distances: packets from each start to the next.
        from_start: decode from the first frame, whatever lies between.
    """
    starts = np.concatenate(([0], np.cumsum(distances)))
    draws = np.random.default_rng(0).random((_NUM_DRAWS, num_frames))
    wanted = ((np.arange(num_frames) + draws) * starts[-1] / num_frames).astype(int)
    if from_start:
        return float((wanted.max(1) + 1).mean())
    start = starts[np.searchsorted(starts, wanted, side="right") - 1]
    before = np.concatenate((np.full((_NUM_DRAWS, 1), -1), wanted[:, :-1]), 1)  # decoded for the wanted one before
    return float(np.maximum(0, wanted - np.maximum(start, before + 1) + 1).sum(1).mean())


def describe_cost(
    video_info: Iterable[VideoInfo],
    root: Path,
    lists: Sequence[object] = (),
    classes: Sequence[object] = (),
    *,
    num_frames: int = 8,
) -> list[str]:
    """One line with the factor and the command that transcodes; none if reading is cheap enough.

    Args:
        lists, classes: as the command takes them.
        num_frames: as in ``reading_factor``.
    """
    factor = reading_factor(video_info, num_frames=num_frames)
    if factor < WORTH_SAYING:
        return []
    command = ["reskd", "prepare", "transcode", str(root), f"{root}_small"]
    command += ["--list", *map(str, lists)] if lists else []
    command += ["--classes", *map(str, classes)] if classes else []
    return [
        f"reading clips costs about {factor:.{0 if factor >= 10 else 1}f} times what it would from transcoded files: "
        f"{shlex.join(command)}"
    ]
