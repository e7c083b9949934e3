"""Refuse formats that make FFmpeg open other files or the network: a video is one file."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import av

# FFmpeg's demuxers of playlists and streams.
_REFERRING = frozenset(
    {"concat", "dash", "dvdvideo", "hls", "imf", "rtp", "rtsp", "sap", "sdp", "vapoursynth", "avisynth"}
    | {"webm_dash_manifest"}
)
# The value of FFmpeg's option format_whitelist: all its other formats.
SELF_CONTAINED = ",".join(sorted(av.formats_available - _REFERRING))
# How they begin, after white space and a byte order mark, in small letters.
_BEGINNINGS = {
    b"ffconcat version": "a list (ffconcat)",
    b"#extm3u": "a playlist (m3u8)",
    b"v=0": "a session description (sdp)",
    b"<asx": "a playlist (asx)",
}
_MANIFEST = b"<mpd"  # in XML, after a declaration and comments
_NUM_BYTES = 2048


def refuse_playlist(video: str | Path | BinaryIO) -> None:
    """Give the reason why FFmpeg did not open a playlist; does nothing for any other file.

    Args:
        video: path, or an open file that can be read from its start.

    Raises:
        ValueError: it is a playlist.
    """
    try:
        if isinstance(video, str | Path):
            with Path(video).open("rb") as file:
                head = file.read(_NUM_BYTES)
        else:
            video.seek(0)
            head = video.read(_NUM_BYTES)
    except OSError:
        return
    kind = _kind(head.removeprefix(b"\xef\xbb\xbf").lstrip().lower())
    if kind:
        raise ValueError(f"it is {kind}, which names other files: expected one video file")


def _kind(head: bytes) -> str:
    if head.startswith(b"<") and _MANIFEST in head:
        return "a manifest (mpd)"
    return next((kind for start, kind in _BEGINNINGS.items() if head.startswith(start)), "")
