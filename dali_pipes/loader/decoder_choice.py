"""Who decodes a file: DALI from the encoded bytes, or PyAV in a worker (the host).

DALI ignores rotation and every matrix but BT.601, and answers black frames where packets and frames do not match one
to one (DALI 2.4.0, measured), so whatever is not known to come out right goes through the host.
"""

from __future__ import annotations

from collections import Counter
from typing import Literal

import numpy as np

from dali_pipes.choices import WayChoice
from dali_pipes.manifest.manifest import Manifest
from dali_pipes.manifest.rows import COLUMNS
from dali_pipes.video_info import JPEG_FILES, UNTAGGED, FileFacts

WayIn = Literal["dali", "host"]
DeviceKind = Literal["cpu", "cuda"]

# Tested against PyAV (tests/dali_pipes/loader/test_clip_loader.py). On cuda: what NVDEC decodes on every generation
# since Volta. AV1 needs Ampere or newer; an older GPU fails at the first batch with DALI's own message.
_DALI_CODECS: dict[DeviceKind, frozenset[str]] = {
    "cpu": frozenset({"vp8", "vp9", "mjpeg"}),
    "cuda": frozenset({"h264", "hevc", "vp8", "vp9", "av1"}),
}
# DALI decodes these too, but frame order (packed B-frames) or range is not proven; only for way_in=dali.
_UNPROVEN_CODECS: dict[DeviceKind, frozenset[str]] = {"cpu": frozenset(), "cuda": frozenset({"mpeg4", "mjpeg"})}
_PIX_FMTS = frozenset({"yuv420p", "yuvj420p"})
# The facts that ``why_not_dali`` looks at, but for the numbers of frames and packets, which it compares.
DECISIVE_FACTS = ("rotation", "health", "codec", "pix_fmt", "matrix", "colour_range")
_MJPEG_PIX_FMTS = frozenset({"yuvj420p", "yuvj422p", "yuvj444p"})


def why_not_dali(facts: FileFacts, device: DeviceKind, *, allow_unproven: bool) -> str | None:
    """The reason why DALI cannot decode this file as the host would, or None."""
    if facts.codec == JPEG_FILES:  # decoders.image knows them all on both devices; the scan refuses what it would turn
        return None
    codecs = _DALI_CODECS[device] | (_UNPROVEN_CODECS[device] if allow_unproven else frozenset())
    full_range = facts.colour_range == "full" or facts.pix_fmt.startswith("yuvj")
    pix_fmts = _MJPEG_PIX_FMTS if facts.codec == "mjpeg" and device == "cpu" else _PIX_FMTS
    if facts.codec not in codecs:
        return f"codec {facts.codec} is not among {', '.join(sorted(codecs))}"
    if facts.pix_fmt not in pix_fmts:
        return f"pixel format {facts.pix_fmt} is not among {', '.join(sorted(pix_fmts))}"
    if facts.health != "ok":
        return "the file is cut or damaged"
    if facts.num_frames != facts.num_packets:
        return f"{facts.num_packets} packets give {facts.num_frames} frames"
    if facts.rotation:
        return f"it is rotated by {facts.rotation} degrees"
    if facts.matrix not in ("bt601", UNTAGGED):
        return f"its colour matrix is {facts.matrix}"
    if full_range != (facts.codec == "mjpeg"):
        return f"its colour range is {'full' if full_range else 'limited'}"
    return None


def way_in(facts: FileFacts, device: DeviceKind, choice: WayChoice) -> WayIn:
    """The way in of one file. ``dali`` is honoured without a check, see ``check_forced``.

    ``prefer_dali`` is DALI where it decodes as the host would; ``auto`` is that on a GPU, and the host on a CPU: PyAV
    needs less time than DALI for each codec that both decode there (docs/benchmarks.md).
    """
    if choice in ("dali", "host"):
        return choice
    if choice == "auto" and device == "cpu":
        return "host"
    return "host" if why_not_dali(facts, device, allow_unproven=False) else "dali"


def check_forced(manifest: Manifest, device: DeviceKind, choice: WayChoice) -> None:
    """Refuse loader.way_in=dali where DALI cannot.

    Raises:
        ValueError: names the first such file and the reason.
    """
    if choice != "dali":
        return
    for number in sorted(_kinds(manifest)):
        reason = why_not_dali(manifest.row(number).facts, device, allow_unproven=True)
        if reason:
            raise ValueError(
                f"data.loader.way_in=dali: expected files that DALI can decode on {device}, found "
                f"{manifest.path(number)}: {reason}; set data.loader.way_in=prefer_dali or auto."
            )


def count_ways_in(manifest: Manifest, device: DeviceKind, choice: WayChoice) -> Counter[tuple[WayIn, str]]:
    """How many files take each (way in, codec)."""
    counts: Counter[tuple[WayIn, str]] = Counter()
    for number, count in _kinds(manifest).items():
        facts = manifest.row(number).facts
        counts[way_in(facts, device, choice), facts.codec] += count
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


def describe_ways_in(counts: Counter[tuple[WayIn, str]], device: DeviceKind) -> str:
    """One line for the log, such as "way in: 312 h264 host (PyAV), 20 vp9 DALI cpu"."""
    return "way in: " + ", ".join(
        f"{count} {codec} {_decoder(way, codec, device)}" for (way, codec), count in counts.most_common()
    )


def _decoder(way: WayIn, codec: str, device: DeviceKind) -> str:
    if way == "host":
        return "host (PyAV)"
    return "DALI cpu" if device == "cpu" else f"DALI mixed ({'nvJPEG' if codec == JPEG_FILES else 'NVDEC'})"
