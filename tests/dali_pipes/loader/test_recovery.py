from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dali_pipes.loader.decoder_choice import DecoderRule
from dali_pipes.loader.recovery import Recovery
from tests.dali_pipes.loader.test_clip_loader import make_config, make_manifest, take
from tests.dali_pipes.loaders import clip_loader

FAULT = RuntimeError("Error in video decoder")


def test_a_batch_is_retried_then_given_to_pyav_then_given_up() -> None:
    recovery = Recovery(prefetch=2)
    assert recovery.should_retry(FAULT, 5, []) and not recovery.pyav_batches
    assert recovery.should_retry(FAULT, 5, []) and recovery.pyav_batches == {5, 6, 7}
    assert not recovery.should_retry(FAULT, 5, [])


def test_dali_is_given_up_after_three_batches() -> None:
    recovery = Recovery(prefetch=2)
    for iteration in (0, 3, 6):
        assert not recovery.dali_has_failed
        assert recovery.should_retry(FAULT, iteration, []) and recovery.should_retry(FAULT, iteration, [])
    assert recovery.dali_has_failed


@pytest.mark.parametrize(("apart", "allowed"), [(1, 10), (50, 19), (100, 300)])
def test_restarts_are_limited_by_the_batches_served(apart: int, allowed: int) -> None:
    """A killed worker restarts once and goes on; at each batch again, the run would crawl for ever."""
    recovery = Recovery(prefetch=2)
    retried = [recovery.should_retry(FAULT, number * apart, []) for number in range(300)]
    assert retried.index(False) == allowed if False in retried else allowed == len(retried)


def test_dali_that_never_decodes_costs_six_restarts(
    make_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a GPU without a decoder would: DALI's CPU back end has no H.264."""
    folder = make_folder({"a": ["libx264"] * 2}, num_frames=8)
    monkeypatch.setattr(DecoderRule, "check_forced", lambda self, manifest: None)
    options: dict[str, Any] = {"views": ("student",), "mode": "train", "batch_size": 1}
    manifest = make_manifest(make_config(folder))
    expected = take(clip_loader(manifest, make_config(folder, decoder="pyav"), **options), 8)
    messages: list[str] = []
    config = make_config(folder, decoder="dali", prefetch=1)
    loader = clip_loader(manifest, config, on_message=messages.append, **options)
    found = take(loader, 8)
    loader.close()
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.views["student"].data_NTHWC, other.views["student"].data_NTHWC)
    restarts = [message for message in messages if "restarts at batch" in message]
    assert len(restarts) == 6 and "decoders.video" in restarts[0]
    assert messages[-1].endswith("from now on PyAV decodes all files")
    assert loader.describe_reading().startswith("decoders: 2 h264 PyAV")
