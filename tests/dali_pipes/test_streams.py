"""The makers of test videos leave the process as it was."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.dali_pipes.streams import RECIPES, can_make, make


def test_an_encoder_does_not_make_all_later_tests_real_time(tmp_path: Path) -> None:
    recipe = RECIPES["av1 mkv"]._replace(num_frames=2, size=(64, 64))
    if not can_make(recipe):
        pytest.skip("no AV1 encoder")
    before = os.sched_getscheduler(0)
    make(recipe, tmp_path)
    assert os.sched_getscheduler(0) == before
