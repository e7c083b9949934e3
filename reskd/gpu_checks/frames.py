"""Whether DALI shows the right frames of a codec on a device, seen by numbers in the pictures and against PyAV.

The project's own loader reads them, as a training would: whole files, and the needed packets alone.

Shape letters: N clips, T frames, H W pixels, C colors.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dali_pipes.batch import ClipBatch, View
from dali_pipes.choices import DecoderChoice
from dali_pipes.config import DataConfig
from dali_pipes.fault_log import LoaderLog
from dali_pipes.loader.clip_loader import ClipLoader
from dali_pipes.loader.decoder_choice import DecoderRule, DeviceKind, decoder_rule
from dali_pipes.manifest.build import build_manifests
from dali_pipes.manifest.manifest import Manifest
from dali_pipes.nvdec.driver import name_of_gpu
from dali_pipes.nvdec.verdicts import keep_verdicts
from dali_pipes.sampling.order import ReadingOrder
from dali_pipes.sampling.spec import TestViews
from reskd.gpu_checks.counted_videos import encodings_of, read_count, write_counted

# (height, width): the second one's coded width, 352, differs from the width shown.
SIZES = ((256, 256), (256, 340))
_CLIPS_PER_VIDEO, _FRAMES_PER_CLIP = 6, 8
_MOST_LEVELS_APART = 4.0  # mean, of 255; another color matrix makes more, rounding at most 2


@dataclass(frozen=True)
class FrameCheck:
    """The result for one kind of file.

    Args:
        kind: its name in counted_videos.py.
        size: width x height.
        reading: "whole files" or "needed packets".
        refused: why the loader does not give it to DALI; nothing else is known then.
        num_frames, num_wrong: frames looked at, and those that show another number.
        mean_difference, max_difference: levels of 255 between DALI's and PyAV's views.
        messages: what the loader reported while reading: restarts and errors.
    """

    kind: str
    size: str
    reading: str
    refused: str = ""
    num_frames: int = 0
    num_wrong: int = 0
    mean_difference: float = 0.0
    max_difference: int = 0
    messages: tuple[str, ...] = ()

    @property
    def right(self) -> bool:
        clean = not self.refused and not self.messages
        return clean and self.num_wrong == 0 and self.mean_difference <= _MOST_LEVELS_APART


def check_codec(codec: str, folder: Path, *, device: DeviceKind) -> dict[str, Any]:
    """Read counted videos of a codec in each size, both ways; on cuda the verdict is kept for later trainings.

    Args:
        codec: FFmpeg's name.
        folder: an empty folder for the videos.

    Returns:
        "right" (None if the loader refuses all), "refused" (reasons) and "checks" (a dict for each ``FrameCheck``).

    Raises:
        ValueError: PyAV has no encoder of the codec.
    """
    encodings = encodings_of(codec)
    if not encodings:
        raise ValueError(f"expected an encoder of {codec} in PyAV's FFmpeg, found none; install another build of PyAV.")
    rule = decoder_rule(torch.device(device), _config(SIZES[0], "dali"))
    checks = []
    for name, encoding in encodings.items():
        for height, width in SIZES:
            root = folder / f"{name.replace(' ', '_')}_{width}x{height}"
            (root / "counted").mkdir(parents=True)
            write_counted(root / "counted" / f"video{encoding.kind.suffix}", encoding, height, width)
            config = _config((height, width), "dali", root=root)
            manifest = build_manifests(config, seed=0, splits=("train",), num_workers=1)["train"]
            checks += [_check(rule, name, manifest, (height, width), sparse) for sparse in (False, True)]
    taken = [check for check in checks if not check.refused]
    right = all(check.right for check in taken) if taken else None
    if device == "cuda" and right is not None:
        keep_verdicts(name_of_gpu(0), {codec: right})
    refused = sorted({check.refused for check in checks} - {""})
    return {"right": right, "refused": refused, "checks": [asdict(check) for check in checks]}


def _config(size: tuple[int, int], decoder: DecoderChoice, *, sparse: bool = True, root: Path = Path()) -> DataConfig:
    sampling = {"num_frames": _FRAMES_PER_CLIP, "crop": {"kind": "center"}, "test_crop_ratio": 1.0}
    loader = {"num_workers": 1, "num_threads": 4, "decoder": decoder, "sparse_decode": sparse}
    views = {"student": {"size": size, "source": "decoded"}}
    return DataConfig.model_validate(
        {"root": root, "train": "folders", "val_fraction": 0.0, "sampling": sampling, "views": views, "loader": loader}
    )


def _check(rule: DecoderRule, kind: str, manifest: Manifest, size: tuple[int, int], sparse: bool) -> FrameCheck:
    about = kind, f"{size[1]}x{size[0]}", "needed packets" if sparse else "whole files"
    refusal = rule.why_not_dali(manifest.row(0).video_info)
    if refusal:
        return FrameCheck(*about, refused=refusal)
    messages: list[str] = []
    try:
        found = _read(manifest, _config(size, "dali", sparse=sparse), rule.device, messages)
    except (RuntimeError, ValueError, OSError) as error:
        return FrameCheck(*about, messages=(*messages, str(error)[-600:]))
    expected = _read(manifest, _config(size, "pyav", sparse=sparse), "cpu", [])
    return _compare(about, found, expected, messages)


def _read(manifest: Manifest, config: DataConfig, device: DeviceKind, messages: list[str]) -> list[ClipBatch]:
    order = ReadingOrder(mode="eval", batch_size=4, test_views=TestViews(_CLIPS_PER_VIDEO))
    log = LoaderLog(on_message=messages.append)
    with closing(ClipLoader(manifest, config, order=order, views=("student",), device=device, log=log)) as loader:
        return list(loader)


def _compare(
    about: tuple[str, str, str], found: Sequence[ClipBatch], expected: Sequence[ClipBatch], messages: Sequence[str]
) -> FrameCheck:
    (seen_MHWC, wanted_M), (exact_MHWC, _) = _frames_of(found), _frames_of(expected)
    apart = np.abs(seen_MHWC.astype(np.int16) - exact_MHWC)
    wrong = [read_count(picture) != number for picture, number in zip(seen_MHWC, wanted_M, strict=True)]
    levels = round(float(apart.mean()), 3), int(apart.max())
    return FrameCheck(*about, "", len(wrong), sum(wrong), *levels, tuple(messages))


def _frames_of(batches: Sequence[ClipBatch]) -> tuple[np.ndarray, list[int]]:
    """uint8 (M, H, W, C) pictures of all clips, and their announced numbers."""
    views = [view for batch in batches if isinstance(view := batch.views["student"], View)]
    pictures = torch.cat([view.data_NTHWC.flatten(0, 1).cpu() for view in views])
    numbers = torch.cat([view.frame_index_NT.flatten().cpu() for view in views])
    kept = torch.cat([(batch.positions_N >= 0).cpu().repeat_interleave(_FRAMES_PER_CLIP) for batch in batches])
    return pictures[kept].numpy(), numbers[kept].tolist()
