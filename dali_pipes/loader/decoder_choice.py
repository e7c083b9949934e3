"""Which decoder reads a file: DALI from the encoded bytes, or PyAV in a worker process.

DALI ignores rotation and every matrix but BT.601, and answers black frames where packets and frames do not match one
to one (DALI 2.4.0, measured), so PyAV decodes whatever is not known to come out right.
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

# Tested against PyAV (tests/dali_pipes/loader/test_clip_loader.py). On cuda: what NVDEC decodes on every generation
# since Volta. AV1 needs Ampere or newer; an older GPU fails at the first batch with DALI's own message.
_DALI_CODECS: dict[DeviceKind, frozenset[str]] = {
    "cpu": frozenset({"vp8", "vp9", "mjpeg"}),
    "cuda": frozenset({"h264", "hevc", "vp8", "vp9", "av1"}),
}
# DALI decodes these too, but frame order (packed B-frames) or range is not proven; only for decoder=dali.
_UNPROVEN_CODECS: dict[DeviceKind, frozenset[str]] = {"cpu": frozenset(), "cuda": frozenset({"mpeg4", "mjpeg"})}
_PIX_FMTS = frozenset({"yuv420p", "yuvj420p"})
# The facts that ``why_not_dali`` looks at, but for the numbers of frames and packets, which it compares.
DECISIVE_FACTS = ("rotation", "health", "codec", "pix_fmt", "matrix", "color_range")
_MJPEG_PIX_FMTS = frozenset({"yuvj420p", "yuvj422p", "yuvj444p"})


def why_not_dali(video_info: VideoInfo, device: DeviceKind, *, allow_unproven: bool) -> str | None:
    """The reason why DALI cannot decode this file as PyAV would, or None."""
    if (
        video_info.codec == JPEG_FILES
    ):  # decoders.image knows them all on both devices; the scan refuses what it would turn
        return None
    codecs = _DALI_CODECS[device] | (_UNPROVEN_CODECS[device] if allow_unproven else frozenset())
    full_range = video_info.color_range == "full" or video_info.pix_fmt.startswith("yuvj")
    pix_fmts = _MJPEG_PIX_FMTS if video_info.codec == "mjpeg" and device == "cpu" else _PIX_FMTS
    if video_info.codec not in codecs:
        return f"codec {video_info.codec} is not among {', '.join(sorted(codecs))}"
    if video_info.pix_fmt not in pix_fmts:
        return f"pixel format {video_info.pix_fmt} is not among {', '.join(sorted(pix_fmts))}"
    if video_info.health != "ok":
        return "the file is cut or damaged"
    if video_info.num_frames != video_info.num_packets:
        return f"{video_info.num_packets} packets give {video_info.num_frames} frames"
    if video_info.rotation:
        return f"it is rotated by {video_info.rotation} degrees"
    if video_info.matrix not in ("bt601", UNTAGGED):
        return f"its color matrix is {video_info.matrix}"
    if full_range != (video_info.codec == "mjpeg"):
        return f"its color range is {'full' if full_range else 'limited'}"
    return None


def choose_decoder(video_info: VideoInfo, device: DeviceKind, choice: DecoderChoice) -> Decoder:
    """The decoder of one file. ``dali`` is honored without a check, see ``check_forced``.

    ``prefer_dali`` is DALI where it decodes as PyAV would; ``auto`` is that on a GPU, and PyAV on a CPU: it
    needs less time than DALI for each codec that both decode there (docs/benchmarks.md).
    """
    if choice in ("dali", "pyav"):
        return choice
    if choice == "auto" and device == "cpu":
        return "pyav"
    return "pyav" if why_not_dali(video_info, device, allow_unproven=False) else "dali"


def check_forced(manifest: Manifest, device: DeviceKind, choice: DecoderChoice) -> None:
    """Refuse loader.decoder=dali where DALI cannot.

    Raises:
        ValueError: names the first such file and the reason.
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
    """How many files each (decoder, codec) has."""
    counts: Counter[tuple[Decoder, str]] = Counter()
    for number, count in _kinds(manifest).items():
        video_info = manifest.row(number).video_info
        counts[choose_decoder(video_info, device, choice), video_info.codec] += count
    return counts


def _kinds(manifest: Manifest) -> dict[int, int]:
    """The first row of each kind of file, and how many rows are of that kind: rows that differ in nothing that
    ``why_not_dali`` looks at. Row by row, a quarter of a million files would take 18 s."""
    kinds = np.zeros(len(manifest), manifest.rows.dtype)
    for name in (COLUMNS[fact].name for fact in DECISIVE_FACTS):
        kinds[name] = manifest.rows[name]
    kinds["num_packets"] = manifest.rows["num_packets"] - manifest.rows["num_frames"]
    as_bytes = kinds.view(f"V{kinds.dtype.itemsize}")
    _, first, counts = np.unique(as_bytes, return_index=True, return_counts=True)
    return dict(zip(first.tolist(), counts.tolist(), strict=True))


def describe_decoders(counts: Counter[tuple[Decoder, str]], device: DeviceKind) -> str:
    """One line for the log, such as "decoders: 312 h264 PyAV, 20 vp9 DALI cpu"."""
    return "decoders: " + ", ".join(
        f"{count} {codec} {_decoder(way, codec, device)}" for (way, codec), count in counts.most_common()
    )


def _decoder(way: Decoder, codec: str, device: DeviceKind) -> str:
    if way == "pyav":
        return "PyAV"
    return "DALI cpu" if device == "cpu" else f"DALI mixed ({'nvJPEG' if codec == JPEG_FILES else 'NVDEC'})"
