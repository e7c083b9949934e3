"""Read the packets of a stream."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import av
from av.video.stream import VideoStream


def packets_of(container: av.container.InputContainer, stream: VideoStream) -> Iterator[av.Packet]:
    """The packets of a stream in the order of the file, and an empty one at the end, which flushes the decoder.

    In a file without a header (MPEG-TS, FLV), damage can look like a further stream. PyAV 18.1 does not know a stream
    that appears on the way: at the end of the file, after the packets of all others, its demuxer may raise IndexError.

    Raises:
        av.error.FFmpegError: the file cannot be read further.
    """
    with suppress(IndexError):
        yield from container.demux(stream)
