"""Choose the decoder of a file: DALI from the encoded bytes, or PyAV in a worker process.

DALI ignores rotation, mirrors and every color matrix but BT.601, and returns black frames if packets and frames do not
match one to one (DALI 2.4.0, measured). Among several streams it chooses by itself. So PyAV decodes every file that
DALI is not known to decode correctly, and every video that the GPU's decoder lacks or may shift
(dali_pipes/nvdec/abilities.py).
"""

from __future__ import annotations

import importlib.util
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np

from dali_pipes.choices import DecoderChoice
from dali_pipes.manifest.manifest import Manifest
from dali_pipes.manifest.rows import COLUMNS
from dali_pipes.nvdec.abilities import NOT_ASKED, Nvdec
from dali_pipes.video_info import JPEG_FILES, UNTAGGED, VideoInfo

if TYPE_CHECKING:
    import torch

    from dali_pipes.config import DataConfig

Decoder = Literal["dali", "pyav"]
T = TypeVar("T", str, tuple[Decoder, str])
DeviceKind = Literal["cpu", "cuda"]

# Tested against PyAV (tests/dali_pipes/loader/test_clip_loader.py). On cuda: those that some GPU's decoder has.
_DALI_CODECS: dict[DeviceKind, frozenset[str]] = {
    "cpu": frozenset({"vp8", "vp9", "mjpeg"}),
    "cuda": frozenset({"h264", "hevc", "vp8", "vp9", "av1"}),
}
# DALI decodes these too, but correct frame order (packed B-frames) or color range is not proven; only for decoder=dali.
_UNPROVEN_CODECS: dict[DeviceKind, frozenset[str]] = {"cpu": frozenset(), "cuda": frozenset({"mpeg4", "mjpeg"})}
_PIX_FMTS = frozenset({"yuv420p", "yuvj420p"})
# Fields of VideoInfo that ``why_not_dali`` checks, besides the numbers of frames and packets, which it compares, and on
# cuda also sizes, see ``_kinds``.
DECISIVE_FACTS = ("rotation", "mirrored", "num_video_streams", "health", "codec", "pix_fmt", "matrix", "color_range")
FACTS_FOR_NVDEC = ("width", "height", "coded_width", "coded_height", "interlaced")
_MJPEG_PIX_FMTS = frozenset({"yuvj420p", "yuvj422p", "yuvj444p"})


@dataclass(frozen=True)
class DecoderRule:
    """Chooses the decoder of each file.

    ``prefer_dali`` takes DALI for files that it decodes like PyAV. ``auto`` is the same on a GPU, and PyAV on a CPU:
    there PyAV is faster than DALI for each codec that both decode (docs/benchmarks.md). ``dali`` is honored without a
    check, see ``check_forced``.

    Args:
        device: device on which DALI would decode.
        choice: the setting.
        nvdec: the GPU's decoder, on cuda.
    """

    device: DeviceKind
    choice: DecoderChoice = "auto"
    nvdec: Nvdec = NOT_ASKED

    def choose(self, video_info: VideoInfo) -> Decoder:
        """The decoder of one file."""
        if self.choice in ("dali", "pyav"):
            return self.choice
        if self.choice == "auto" and self.device == "cpu":
            return "pyav"
        return "pyav" if self.why_not_dali(video_info) else "dali"

    def why_not_dali(self, video_info: VideoInfo) -> str | None:
        """Why DALI cannot decode this file like PyAV, or None. ``choice`` "dali" allows what is not proven."""
        if video_info.codec == JPEG_FILES:  # decoders.image reads them all; the scan refuses those that it would rotate
            return None
        return self._why_not_any_dali(video_info) or self._why_not_nvdec(video_info)

    def check_forced(self, manifest: Manifest) -> None:
        """Check that loader.decoder=dali is possible for all files.

        Raises:
            ValueError: DALI cannot decode a file; names the first one and the reason.
        """
        if self.choice != "dali":
            return
        for number in sorted(self._kinds(manifest)):
            reason = self.why_not_dali(manifest.row(number).video_info)
            if reason:
                raise ValueError(
                    f"data.loader.decoder=dali: expected files that DALI can decode on {self.device}, found "
                    f"{manifest.path(number)}: {reason}; set data.loader.decoder=prefer_dali or auto."
                )

    def count(self, manifest: Manifest) -> DecoderCounts:
        """How many files each decoder has."""
        counts = DecoderCounts(self.device)
        for number, count in self._kinds(manifest).items():
            video_info = manifest.row(number).video_info
            decoder = self.choose(video_info)
            counts.files[decoder, video_info.codec] += count
            if decoder == "pyav" and self.choice != "pyav" and self._why_not_any_dali(video_info) is None:
                counts.not_by_nvdec[self._why_not_nvdec(video_info) or ""] += count
        del counts.not_by_nvdec[""]
        return counts

    def _why_not_any_dali(self, video_info: VideoInfo) -> str | None:
        forced = self.choice == "dali"
        codecs = _DALI_CODECS[self.device] | (_UNPROVEN_CODECS[self.device] if forced else frozenset())
        full_range = video_info.color_range == "full" or video_info.pix_fmt.startswith("yuvj")
        pix_fmts = _MJPEG_PIX_FMTS if video_info.codec == "mjpeg" and self.device == "cpu" else _PIX_FMTS
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

    def _why_not_nvdec(self, video_info: VideoInfo) -> str | None:
        if self.device != "cuda":
            return None
        unsure = None if self.choice == "dali" else self.nvdec.why_unsure(video_info)
        return self.nvdec.why_unable(video_info) or unsure

    def _kinds(self, manifest: Manifest) -> dict[int, int]:
        """The first row of each kind of file, and the number of rows of that kind.

        Rows of a kind are equal in everything that ``why_not_dali`` checks. Row by row, 250,000 files would take 18 s.
        """
        facts = DECISIVE_FACTS + (FACTS_FOR_NVDEC if self.device == "cuda" else ())
        kinds = np.zeros(len(manifest), manifest.rows.dtype)
        for name in (COLUMNS[fact].name for fact in facts):
            kinds[name] = manifest.rows[name]
        kinds["num_packets"] = manifest.rows["num_packets"] - manifest.rows["num_frames"]
        as_bytes = kinds.view(f"V{kinds.dtype.itemsize}")
        _, first, counts = np.unique(as_bytes, return_index=True, return_counts=True)
        return dict(zip(first.tolist(), counts.tolist(), strict=True))


BY_PYAV = DecoderRule("cpu", "pyav")


@dataclass(frozen=True)
class DecoderCounts:
    """How many files each decoder has.

    Args:
        device: device on which DALI decodes.
        files: number of files by (decoder, codec).
        not_by_nvdec: number of files that DALI would decode but for the GPU's decoder, by the reason.
    """

    device: DeviceKind
    files: Counter[tuple[Decoder, str]] = field(default_factory=Counter)
    not_by_nvdec: Counter[str] = field(default_factory=Counter)

    @property
    def decoders(self) -> frozenset[Decoder]:
        return frozenset(decoder for decoder, _ in self.files)

    def describe(self) -> str:
        """One line for the log, for example "decoders: 312 h264 PyAV, 20 vp9 DALI cpu"."""
        counted = (f"{count} {codec} {self._named(way, codec)}" for (way, codec), count in _by_number(self.files))
        reasons = "".join(f"; {count} by PyAV as {reason}" for reason, count in _by_number(self.not_by_nvdec))
        return f"decoders: {', '.join(counted)}{reasons}"

    def _named(self, way: Decoder, codec: str) -> str:
        if way == "pyav":
            return "PyAV"
        return "DALI cpu" if self.device == "cpu" else f"DALI mixed ({'nvJPEG' if codec == JPEG_FILES else 'NVDEC'})"


def _by_number(counts: Counter[T]) -> list[tuple[T, int]]:
    """Largest first, and equal ones in an order that does not depend on the files'."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def decoder_rule(device: torch.device, config: DataConfig) -> DecoderRule:
    """What chooses the decoder of each file, by the setting and what this machine's GPU can decode.

    Without DALI that is PyAV, and views are rendered on the CPU.

    Raises:
        ValueError: ``decoder=dali`` without DALI.
    """
    choice = config.loader.decoder
    if not has_dali():
        if choice == "dali":
            raise ValueError(
                "data.loader.decoder=dali: expected DALI, found none; pip install 'reskd[cuda12]' or 'reskd[cuda13]'."
            )
        return DecoderRule("cpu", "pyav")
    if device.type != "cuda":
        return DecoderRule("cpu", choice)
    if choice == "pyav" or config.storage.kind == "frames":
        return DecoderRule("cuda", choice)
    import torch

    from dali_pipes.nvdec.verdicts import nvdec_of

    return DecoderRule("cuda", choice, nvdec_of(torch.cuda.current_device() if device.index is None else device.index))


def has_dali() -> bool:
    """Whether NVIDIA DALI is installed."""
    return importlib.util.find_spec("nvidia") is not None and importlib.util.find_spec("nvidia.dali") is not None
