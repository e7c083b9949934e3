"""The loss benchmark on a tiny case: rows and ratios."""

from __future__ import annotations

import pytest
import torch

from benchmarks.ops.loss_benchmark import measure_case
from benchmarks.ops.loss_cases import CASES, Case

TINY = Case("tiny", 2, 8, 2, 3)


def test_every_backend_that_serves_gets_a_row_in_each_phase() -> None:
    rows = measure_case(
        TINY, device=torch.device("cpu"), dtype="fp32", layout="channels_last", rounds=2, with_compile=False
    )
    names = [row.candidate for row in rows if row.phase == "forward"]
    assert names[:2] == ["copy", "eager"]
    assert len(rows) == 2 * len(names)
    for row in rows:
        assert row.median_ms > 0
        if row.candidate == "copy":
            assert row.times_floor == pytest.approx(1)
        if row.candidate == "eager":
            assert row.times_eager == pytest.approx(1)
    # The teacher is 2 x 8 x 3 x 3 fp32, the student 2 x 8 x 2 x 2: read, and the gradient written, read, written.
    assert {row.phase: row.moved_mib * 2**20 for row in rows} == {"forward": 832, "forward+backward": 1600}


def test_the_paper_shapes_are_all_there() -> None:
    assert {(case.small, case.large) for case in CASES} == {(2, 7), (3, 7), (4, 7), (5, 7)}
    assert {case.num_images for case in CASES} == {64, 128, 512, 1024}
