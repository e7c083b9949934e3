"""Choose the decoder of a file: DALI from the encoded bytes, or PyAV in a worker process.

DALI ignores rotation, mirrors and every color matrix but BT.601, and returns black frames if packets and frames do not
match one to one (DALI 2.4.0, measured). Among several streams it chooses by itself. So PyAV decodes every file that
DALI is not known to decode correctly.
"""

from __future__ import annotations

from collections import Counter
from typing import Literal

import numpy as np

from dali_pipes.choices import DecoderChoice
from dali_pipes.manifest.manifest import Manifest
from dali_pipes.manifest.rows import COLUMNS
from dali_pipes.video_info import JPEG_FILES, UNTAGGED, VideoInfo

Decoder = Literal["dali", "pyav"]
DeviceKind = Literal["cpu", "cuda"]

# Tested against PyAV (tests/dali_pipes/loader/test_clip_loader.py). On cuda: codecs that NVDEC decodes on every
# generation since Volta. AV1 needs Ampere or newer; an older GPU fails at the first batch with DALI's own message.
_DALI_CODECS: dict[DeviceKind, frozenset[str]] = {
    "cpu": frozenset({"vp8", "vp9", "mjpeg"}),
    "cuda": frozenset({"h264", "hevc", "vp8", "vp9", "av1"}),
}
# DALI decodes these too, but correct frame order (packed B-frames) or color range is not proven; only for decoder=dali.
_UNPROVEN_CODECS: dict[DeviceKind, frozenset[str]] = {"cpu": frozenset(), "cuda": frozenset({"mpeg4", "mjpeg"})}
_PIX_FMTS = frozenset({"yuv420p", "yuvj420p"})
# Fields of VideoInfo that ``why_not_dali`` checks, besides the numbers of frames and packets, which it compares.
DECISIVE_FACTS = ("rotation", "mirrored", "num_video_streams", "health", "codec", "pix_fmt", "matrix", "color_range")
_MJPEG_PIX_FMTS = frozenset({"yuvj420p", "yuvj422p", "yuvj444p"})


def why_not_dali(video_info: VideoInfo, device: DeviceKind, *, allow_unproven: bool) -> str | None:
    """The reason why DALI cannot decode this file like PyAV, or None."""
    if (
        video_info.codec == JPEG_FILES
    ):  # decoders.image reads them all on both devices; the scan refuses those that it would rotate
        return None
    codecs = _DALI_CODECS[device] | (_UNPROVEN_CODECS[device] if allow_unproven else frozenset())
    full_range = video_info.color_range == "full" or video_info.pix_fmt.startswith("yuvj")
    pix_fmts = _MJPEG_PIX_FMTS if video_info.codec == "mjpeg" and device == "cpu" else _PIX_FMTS
    if video_info.codec not in codecs:
        return f"codec {video_info.codec} is not among {', '.join(sorted(codecs))}"
    if video_info.pix_fmt not in pix_fmts:
        return f"pixel format {video_info.pix_fmt} is not among {', '.join(sorted(pix_fmts))}"
    if video_info.health != "ok":
        return "the file is truncated or damaged"
    if video_info.num_frames != video_info.num_packets:
        return f"{video_info.num_packets} packets give {video_info.num_frames} frames"
    if video_info.rotation:
        return f"it is rotated by {video_info.rotation} degrees"
    if video_info.mirrored:
        return "it is mirrored"
    if video_info.num_video_streams > 1:
        return f"it has {video_info.num_video_streams} video streams"
    if video_info.matrix not in ("bt601", UNTAGGED):
        return f"its color matrix is {video_info.matrix}"
    if full_range != (video_info.codec == "mjpeg"):
        return f"its color range is {'full' if full_range else 'limited'}"
    return None


def choose_decoder(video_info: VideoInfo, device: DeviceKind, choice: DecoderChoice) -> Decoder:
    """Choose the decoder of one file. ``dali`` is honored without a check, see ``check_forced``.

    ``prefer_dali`` takes DALI for files that it decodes like PyAV. ``auto`` is the same on a GPU, and PyAV on a CPU:
    there PyAV is faster than DALI for each codec that both decode (docs/benchmarks.md).
    """
    if choice in ("dali", "pyav"):
        return choice
    if choice == "auto" and device == "cpu":
        return "pyav"
    return "pyav" if why_not_dali(video_info, device, allow_unproven=False) else "dali"


def check_forced(manifest: Manifest, device: DeviceKind, choice: DecoderChoice) -> None:
    """Check that loader.decoder=dali is possible for all files.

    Raises:
        ValueError: DALI cannot decode a file; names the first one and the reason.
    """
    if choice != "dali":
        return
    for number in sorted(_kinds(manifest)):
        reason = why_not_dali(manifest.row(number).video_info, device, allow_unproven=True)
        if reason:
            raise ValueError(
                f"data.loader.decoder=dali: expected files that DALI can decode on {device}, found "
                f"{manifest.path(number)}: {reason}; set data.loader.decoder=prefer_dali or auto."
            )


def count_decoders(manifest: Manifest, device: DeviceKind, choice: DecoderChoice) -> Counter[tuple[Decoder, str]]:
    """Number of files of each (decoder, codec)."""
    counts: Counter[tuple[Decoder, str]] = Counter()
    for number, count in _kinds(manifest).items():
        video_info = manifest.row(number).video_info
        counts[choose_decoder(video_info, device, choice), video_info.codec] += count
    return counts


def _kinds(manifest: Manifest) -> dict[int, int]:
    """The first row of each kind of file, and the number of rows of that kind.

    Rows of a kind are equal in everything that ``why_not_dali`` checks. Row by row, 250,000 files would take 18 s.
    """
    kinds = np.zeros(len(manifest), manifest.rows.dtype)
    for name in (COLUMNS[fact].name for fact in DECISIVE_FACTS):
        kinds[name] = manifest.rows[name]
    kinds["num_packets"] = manifest.rows["num_packets"] - manifest.rows["num_frames"]
    as_bytes = kinds.view(f"V{kinds.dtype.itemsize}")
    _, first, counts = np.unique(as_bytes, return_index=True, return_counts=True)
    return dict(zip(first.tolist(), counts.tolist(), strict=True))


def describe_decoders(counts: Counter[tuple[Decoder, str]], device: DeviceKind) -> str:
    """One line for the log, for example "decoders: 312 h264 PyAV, 20 vp9 DALI cpu"."""
    return "decoders: " + ", ".join(
        f"{count} {codec} {_decoder(way, codec, device)}" for (way, codec), count in counts.most_common()
    )


def _decoder(way: Decoder, codec: str, device: DeviceKind) -> str:
    if way == "pyav":
        return "PyAV"
    return "DALI cpu" if device == "cpu" else f"DALI mixed ({'nvJPEG' if codec == JPEG_FILES else 'NVDEC'})"
