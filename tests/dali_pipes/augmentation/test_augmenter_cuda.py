"""Augmentation on a GPU against the CPU's, and that the host does not wait for it."""

from __future__ import annotations

import pytest
import torch

from tests.dali_pipes.augmentation.test_augmenter import ALL, augmented, both_views, config_of

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def test_a_gpu_gives_the_cpu_s_pixels_within_a_level_and_nobody_waits() -> None:
    views, config = both_views(32), config_of(ALL)
    expected = augmented(views, range(32), config)
    on_gpu = {name: view.cuda() for name, view in views.items()}
    augmented(on_gpu, range(32), config)  # libraries are loaded
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = augmented(on_gpu, range(32), config)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for name, view in found.items():
        difference = (view.cpu().int() - expected[name].int()).abs()
        # A level before solarize, posterize or equalize is many after it.
        assert (difference <= 1).float().mean() > 0.99
