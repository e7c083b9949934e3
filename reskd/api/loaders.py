"""``make_loader``: two views of each clip for a training loop of one's own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from pydantic import ValidationError

from dali_pipes.config import DataConfig
from dali_pipes.fault_log import LoaderLog
from dali_pipes.loader.clip_loader import ClipLoader
from dali_pipes.manifest.build import build_manifests
from dali_pipes.manifest.manifest import Manifest
from dali_pipes.sampling.order import ReadingOrder
from dali_pipes.sampling.spec import ONE_TEST_VIEW
from reskd.api.messages import messages_shown
from reskd.experiment.clip_data import ClipData
from reskd.experiment.config_errors import explain

log = logging.getLogger(__name__)

Split = Literal["train", "val", "test"]


def make_loader(
    data: DataConfig | Mapping[str, Any],
    batch_size: int,
    *,
    split: Split = "train",
    views: Sequence[str] | None = None,
    device: torch.device | str = "cpu",
    seed: int = 0,
    rank: int = 0,
    world_size: int = 1,
    first_batch: int = 0,
    on_message: Callable[[str], None] | None = None,
) -> ClipLoader:
    """Scan the videos of a list or a folder, and make the loader of one split.

    Of "train" the batches come without end, shuffled and augmented; ``len(loader)`` of them are an epoch. Of "val" and
    "test" each ``iter`` is one pass, in order; the last batch may be padded (``ClipBatch.padding_N``). Batches are pure
    functions of the seed and their number, so a loader resumes exactly: by ``load_state_dict`` or ``first_batch``.

    Workers start with the first batch, do not import the main module, and end when the loader is closed. Messages go to
    the logger ``reskd.api.loaders``, damage as warnings of rank 0; without any logging set up, to stderr.

    Args:
        data: settings of a config's group ``data`` (docs/data.md), as ``{"root": "videos", "train": "folders", "views":
            {"teacher": {"size": 224}, "student": {"size": 112}}}``.
        batch_size: clips of a batch on this rank; in "val" and "test" each test view is a clip.
        views: names of the views in the batches; default: all that ``data`` describes.
        device: of the batches: "cpu", or "cuda" with an optional index, where frames are then rendered too.
        seed: of splits, order, frames, crops and flips.
        rank: of this process among those that share each step's clips.
        world_size: number of these processes.
        first_batch: number of this rank's first training batch.
        on_message: called with each message in place of the logger.

    Raises:
        FileNotFoundError, ValueError: settings, lists or files that cannot be used; one line for each fault.
    """
    config = _parsed(data) if isinstance(data, Mapping) else data
    note, warn = on_message or log.info, on_message or log.warning
    damage = warn if rank == 0 else note  # the other ranks find the same
    with messages_shown():
        manifests = build_manifests(config, seed=seed, splits=(split,), on_message=note, on_damage=damage)
    _check_has_videos(split, manifests)
    order = ReadingOrder(
        mode="train" if split == "train" else "eval",
        batch_size=batch_size,
        seed=seed,
        rank=rank,
        world_size=world_size,
        first_batch=first_batch,
        class_sampling=config.class_sampling,
        test_views=ONE_TEST_VIEW if split == "train" else ClipData(config).test_views(split),
    )
    names = views or (("teacher", "student") if config.views.teacher else ("student",))
    return ClipLoader(manifests[split], config, order=order, views=names, device=device, log=LoaderLog(None, warn))


def _check_has_videos(split: str, manifests: Mapping[str, Manifest]) -> None:
    if split not in manifests:
        other = "val_pattern" if split == "val" else split
        raise ValueError(f"split: expected {split} videos, found none; set data.{split}_fraction or data.{other}.")


def _parsed(data: Mapping[str, Any]) -> DataConfig:
    try:
        return DataConfig.model_validate(dict(data))
    except ValidationError as error:
        faults = explain(error, DataConfig, group="data")
        raise ValueError("\n".join(f"data: {fault.sentence}" for fault in faults)) from None
