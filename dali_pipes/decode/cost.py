"""Count the frames that must be decoded for a clip: from the start of the file, and from the nearest keyframes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from dali_pipes.decode.demux import packets_of
from dali_pipes.decode.pyav import open_video, open_video_stream
from dali_pipes.packets.packet_index import PACKET, select
from dali_pipes.packets.picture_types import START


@dataclass(frozen=True)
class Keyframes:
    """Indices of the keyframes among the ``num_packets`` packets of a video, in decoding order."""

    num_packets: int
    positions: tuple[int, ...]

    @staticmethod
    def from_distances(distances: Sequence[int]) -> Keyframes:
        """The inverse of ``distances``."""
        ends = np.cumsum(distances).tolist()
        return Keyframes(ends[-1], (0, *ends[:-1]))

    @property
    def distances(self) -> tuple[int, ...]:
        """Number of packets from each keyframe to the next one or to the end."""
        ends = (*self.positions[1:], self.num_packets)
        return tuple(end - position for position, end in zip(self.positions, ends, strict=True))


class DecodedFrames(NamedTuple):
    """Mean number of frames decoded for a clip, if decoding starts at the first frame, or at the keyframe before each
    wanted frame."""

    from_start: float
    from_keyframes: float


def find_keyframes(path: Path) -> Keyframes:
    """Find the keyframes by reading every packet, without decoding.

    Raises:
        ValueError: the file does not open or has no video packet.
    """
    positions, count = [], 0
    try:
        with open_video(path) as container:
            for packet in packets_of(container, open_video_stream(container)):
                if packet.size:
                    if packet.is_keyframe:
                        positions.append(count)
                    count += 1
    except av.error.FFmpegError as error:
        if not count:
            raise ValueError(f"{path}: does not open: {error.strerror}.") from error
    if not count:
        raise ValueError(f"{path}: expected video packets, found none.")
    return Keyframes(count, tuple(positions) if positions and positions[0] == 0 else (0, *positions))


def count_decoded(keyframes: Keyframes, num_wanted: int, *, num_draws: int = 64) -> DecodedFrames:
    """Expected cost of one random frame from each of ``num_wanted`` equal segments (TSN sampling).

    It assumes that output order is decoding order; with B-frames a few more are needed.
    """
    draws = np.random.default_rng(0).random((num_draws, num_wanted))
    wanted = ((np.arange(num_wanted) + draws) * keyframes.num_packets / num_wanted).astype(int)
    packets_P = np.zeros(keyframes.num_packets, PACKET)
    packets_P["flags"][list(keyframes.positions)] = START
    from_keyframes = [len(select(packets_P, frames, may_flush=False).number_K) for frames in wanted]
    return DecodedFrames(float((wanted.max(1) + 1).mean()), float(np.mean(from_keyframes)))


def spread_sample(paths: Sequence[Path], count: int) -> list[Path]:
    """Choose at most ``count`` paths, in their order: the same for the same names on any machine and for any suffix."""
    chosen = set(sorted(paths, key=lambda path: sha256(os.fsencode(path.stem)).digest())[:count])
    return [path for path in paths if path in chosen]
