from __future__ import annotations

import itertools

import numpy as np
import pytest

from dali_pipes.transcode.size_model import FileFacts, Trial, choose_trials, predict_total


def mixed_folder(seed: int) -> tuple[list[FileFacts], list[float]]:
    """Many small old files and a few large ones, and the true output bytes of a frame of each."""
    rng = np.random.default_rng(seed)
    facts, rates = [], []
    for _ in range(200):
        num_frames = int(rng.integers(40, 300))
        rate = float(rng.uniform(1500, 5000))
        facts.append(FileFacts("mpeg4", int(num_frames * rate * 0.6), num_frames, 76_800, 76_800))
        rates.append(rate)
    for _ in range(10):
        num_frames = int(rng.integers(1000, 3000))
        rate = float(rng.uniform(3000, 9000))
        facts.append(FileFacts("h264", int(num_frames * rate * 6), num_frames, 2_073_600, 116_736))
        rates.append(rate)
    return facts, rates


def try_out(facts: list[FileFacts], rates: list[float], chosen: list[int]) -> list[Trial]:
    """Trials of the first 100 frames, which are a little easier or harder than the rest."""
    noise = np.random.default_rng(1).uniform(0.8, 1.25, len(facts))
    return [Trial(facts[n], 100, int(100 * rates[n] * noise[n]), 100 * facts[n].pixels_in / 1e8) for n in chosen]


@pytest.mark.parametrize("seed", range(5))
def test_a_mixed_folder_is_predicted_within_a_factor_of_one_and_a_half(seed: int) -> None:
    facts, rates = mixed_folder(seed)
    total = predict_total(facts, try_out(facts, rates, choose_trials(facts, 16)))
    true = sum(one.num_frames * rate for one, rate in zip(facts, rates, strict=True))
    assert true / 1.5 < total.bytes_out < 1.5 * true
    assert total.low < true < total.high
    cpu_s = sum(one.num_frames * one.pixels_in / 1e8 for one in facts)
    assert cpu_s / 1.5 < total.cpu_s < 1.5 * cpu_s


def test_trials_are_of_every_kind_and_do_not_depend_on_the_order() -> None:
    facts, _ = mixed_folder(0)
    chosen = {facts[n] for n in choose_trials(facts, 16)}
    assert len(chosen) == 16 and {one.codec for one in chosen} == {"mpeg4", "h264"}
    assert {facts[::-1][n] for n in choose_trials(facts[::-1], 16)} == chosen
    assert choose_trials(facts[:5], 16) == [0, 1, 2, 3, 4]


def test_files_that_were_all_tried_are_predicted_exactly() -> None:
    facts = [FileFacts(codec, 100_000, 100, 50_000, 50_000) for codec in ("h264", "mpeg4", "vp9")]
    trials = [Trial(one, 100, size, 1.0) for one, size in zip(facts, (1000, 1000, 1000), strict=True)]
    total = predict_total(facts, trials)
    assert total.bytes_out == pytest.approx(3000) and total.cpu_s == pytest.approx(3)
    assert total.low == pytest.approx(3000 / np.exp(0.1)) and total.high == pytest.approx(3000 * np.exp(0.1))


def test_one_or_two_trials_give_a_wide_range() -> None:
    facts = [FileFacts("h264", 100_000, 100, 50_000, 50_000)]
    for num_trials in (1, 2):
        total = predict_total(facts, [Trial(facts[0], 50, 500, 1.0)] * num_trials)
        assert total.bytes_out == pytest.approx(1000)
        assert (total.low, total.high) == pytest.approx((250, 4000))


def test_odd_headers_give_numbers() -> None:
    values = (0, 1, 10**12)
    facts = [FileFacts("", size, max(1, n), p, max(1, p)) for size, n, p in itertools.product(values, values, values)]
    total = predict_total(facts, [Trial(facts[0], 1, 0, 0.0), Trial(facts[-1], 1, 10, 1.0), Trial(facts[5], 3, 9, 0.1)])
    assert all(np.isfinite(total)) and total.low <= total.bytes_out <= total.high
    assert len(choose_trials(facts, 4)) <= 4
