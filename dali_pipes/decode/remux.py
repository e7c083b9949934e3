"""Remux kept packets into a small video in memory, for a decoder that reads files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np

from dali_pipes.decode.pyav import open_video, packet_of
from dali_pipes.packets.packet_index import Selection

_TICK = Fraction(1, 25)  # the rate has no effect; decoders use only the order


def remux(codec_header: bytes, payloads: Sequence[bytes], selection: Selection) -> np.ndarray:
    """Make a Matroska file of the packets as uint8 (bytes,); it decodes to frames in the order of ``number_K``.

    Args:
        codec_header: codec header of the video's index.
        payloads: the packets' bytes, as ``read_packets`` returns them.
    """
    rank_K = np.argsort(np.argsort(selection.number_K)).tolist()
    delay = max(0, *(index - rank for index, rank in enumerate(rank_K)))
    file = io.BytesIO()
    with (
        open_video(io.BytesIO(codec_header)) as template,
        av.open(file, "w", format="matroska", container_options={"fflags": "bitexact"}) as container,
    ):
        stream = container.add_stream_from_template(template.streams.video[0], opaque=True)  # it has only one
        for index, (data, rank) in enumerate(zip(payloads, rank_K, strict=True)):
            packet = packet_of(data)
            packet.pts, packet.dts = rank, index - delay
            packet.time_base = _TICK
            packet.is_keyframe = bool(selection.flush_K[index]) or index == 0
            packet.stream = stream
            container.mux(packet)
    return np.frombuffer(file.getbuffer(), np.uint8)
