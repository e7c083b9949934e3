"""Open a camera or a stream of the network, which only a user's explicit wish may do; files are opened by pyav.py."""

from __future__ import annotations

import av

from dali_pipes.decode.playlists import SELF_CONTAINED
from dali_pipes.decode.pyav import ffmpeg_name

OPENING_S = 10.0
# Of FFmpeg, for a stream that the user names.
NETWORK_PROTOCOLS = "rtsp,rtsps,rtp,srtp,rtmp,rtmps,srt,udp,tcp,tls,http,https,httpproxy,crypto"


def open_live(source: str, *, timeout_s: float) -> av.container.InputContainer:
    """Open a camera or stream that a user names: a URL, ``/dev/video0``, a named pipe, or ``-`` (standard input).

    Of a URL only the network is read, never a local file, whatever a playlist from there says.

    Args:
        timeout_s: seconds to wait for data; for a connection and its first frames at least ``OPENING_S``.

    Raises:
        av.error.FFmpegError: it does not open; ``ExitError`` after ``timeout_s``.
        ValueError: it is a device, and this FFmpeg reads none.
    """
    options, form = {"protocol_whitelist": "file", "format_whitelist": SELF_CONTAINED}, None
    if source == "-":
        source, options["protocol_whitelist"] = "pipe:0", "pipe"
    elif "://" in source:
        options = {"protocol_whitelist": NETWORK_PROTOCOLS, "rtsp_transport": "tcp"}
    elif source.startswith("/dev/"):
        if "v4l2" not in av.formats_available:
            raise ValueError(f"expected an FFmpeg that reads cameras (v4l2), found PyAV {av.__version__} without it.")
        options, form = {}, "v4l2"
    else:
        source = ffmpeg_name(source)
    options["analyzeduration"] = "2000000"  # 2 s of the stream: of a live one, looking on takes as long as it lasts
    timeout = (max(timeout_s, OPENING_S), timeout_s)
    return av.open(source, "r", format=form, options=options, metadata_errors="ignore", timeout=timeout)
