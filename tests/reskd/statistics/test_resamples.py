from __future__ import annotations

import numpy as np
import pytest

from reskd.statistics import resamples
from reskd.statistics.resamples import BootstrapSettings, Resamples
from tests.reskd.statistics.test_pairs import run

FEW = BootstrapSettings(num_resamples=300)


@pytest.mark.parametrize("at_once", [1, 500, 10**9])
def test_how_many_resamples_are_computed_at_once_changes_nothing(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    arms = {"A": {0: run(1.0, 0, group_size=3)}}
    whole = Resamples(arms, FEW).values("A")
    monkeypatch.setattr(resamples, "_WEIGHTS_AT_ONCE", at_once)
    for name, values in Resamples(arms, FEW).values("A").items():
        np.testing.assert_allclose(values.resampled_SR, whole[name].resampled_SR, rtol=1e-12)


def test_a_mean_of_resamples_is_top1_for_right_answers() -> None:
    one = run(1.0, 0, group_size=3)
    draw = Resamples({"A": {0: one}}, FEW)
    right_N = (one.logits_NK.argmax(1) == one.labels_N).astype(float)
    np.testing.assert_allclose(draw.means(right_N), draw.values("A")["top1"].resampled_SR[0])


def test_settings_that_say_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 100 resamples"):
        BootstrapSettings(num_resamples=10)
