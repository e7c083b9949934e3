"""Choose which video stream of a file is read: by facts that do not depend on how much of the file was looked at."""

from __future__ import annotations

import av
from av.stream import Disposition
from av.video.stream import VideoStream

# Cover pictures, chapter pictures, and streams of a single picture.
_NO_FILM = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
# FFmpeg's names of formats whose streams are found only by reading on.
_WITHOUT_HEADER = frozenset({"mpegts", "mpeg", "flv", "live_flv", "nsv", "pva", "nut", "rm", "wtv"})


def choose_video_stream(container: av.container.InputContainer) -> VideoStream:
    """Choose a stream of moving pictures that FFmpeg can decode; among several, one marked as the default; among those,
    the one of the largest picture, and then the first. A cover picture is chosen only if there is nothing else.

    FFmpeg's own choice (av_find_best_stream) depends on how many frames were looked at on opening.

    Raises:
        ValueError: there is no video stream, or no decoder for any.
    """
    streams = container.streams.video
    if not streams:
        raise ValueError("no video stream")
    decodable = [stream for stream in streams if stream.codec_context is not None]
    if not decodable:
        raise ValueError("no decoder for the video stream")
    return min(decodable, key=_rank)


def _rank(stream: VideoStream) -> tuple[bool, bool, int, int]:
    is_default = bool(stream.disposition & Disposition.default)
    return is_picture(stream), not is_default, -stream.width * stream.height, stream.index


def is_picture(stream: VideoStream) -> bool:
    """Whether a stream is marked as a cover or the like, and not as a film."""
    return bool(stream.disposition & _NO_FILM)


def depends_on_probing(container: av.container.InputContainer) -> bool:
    """Whether the streams, or their sizes, may differ with the number of bytes that FFmpeg looks at on opening."""
    return len(container.streams.video) > 1 or container.format.name in _WITHOUT_HEADER
