"""The formulas and the simulation, which know nothing of each other but the sum of gradients, against each other."""

from __future__ import annotations

from typing import Any

import pytest

from reskd.scaling.config import Failures, Rates
from reskd.scaling.paper_model import lost_to_failures, step_time, sum_seconds
from reskd.scaling.simulated_run import simulate
from tests.reskd.scaling.test_config import settings

CPU = {
    "on_gpu": False, "processes_per_node": 2, "cores_per_node": 2, "node_gb_per_s": 1e3, "network_gb_per_s": 1e3,
    "latency_us": 0,
}  # fmt: skip


def rates_of(**changes: Any) -> Rates:
    return Rates.model_validate(settings(**changes))


def reading(**changes: Any) -> dict[str, Any]:
    return {**settings()["reading"], **changes}


@pytest.mark.parametrize(
    ("changes", "processes", "limit", "seconds"),
    [
        pytest.param({}, 8, "networks", 0.1, id="networks hide all"),
        pytest.param({"reading": None}, 64, "networks", 0.1, id="no data"),
        pytest.param({"reading": reading(core_seconds=0.1)}, 4, "workers", 0.2, id="8 workers, 1.6 core-seconds"),
        pytest.param({"reading": reading(decoder_clips_per_second=50)}, 4, "decoder", 0.32, id="decoder"),
        pytest.param({"cluster": {**CPU, "cores_per_node": 1}}, 1, "cores", 0.42, id="one core for both"),
        pytest.param(
            {"cluster": CPU, "reading": reading(workers=1)}, 2, "cores", 0.42, id="two cores for two processes"
        ),
        pytest.param(
            {"cluster": {**settings()["cluster"], "storage_gb_per_s": 0.01}}, 8, "storage", 8 * 0.32768, id="storage"
        ),
    ],
)
def test_without_chance_formula_and_simulation_are_equal(
    changes: dict[str, Any], processes: int, limit: str, seconds: float
) -> None:
    rates = rates_of(**{"gradients": {"parameters": 1}, **changes})
    predicted = step_time(rates, processes, 16 * processes)
    assert predicted.limit == limit and predicted.seconds == pytest.approx(seconds, rel=1e-4)
    assert simulate(rates, processes, 16 * processes).step_seconds == pytest.approx(seconds, rel=0.02)


@pytest.mark.parametrize(
    ("parameters", "unhidden"),
    [
        # 0.0496 s for the sum at 64 processes and 25 GB/s: longer than the backward pass by 0.0096.
        pytest.param(157_500_000, 0.0096, id="longer than the backward pass"),
        pytest.param(25_000_000, 0.0079 * 25 * 2**20 / 1e8, id="the last bucket"),
        pytest.param(1_000_000, 0.000315, id="one bucket, nothing hidden"),
    ],
)
def test_the_part_of_the_sum_that_nothing_hides_lengthens_the_step(parameters: int, unhidden: float) -> None:
    rates = rates_of(gradients={"parameters": parameters}, reading=None)
    predicted = step_time(rates, 64, 64 * 16)
    assert predicted.unhidden_seconds == pytest.approx(unhidden, rel=0.01)
    assert predicted.seconds == pytest.approx(0.1 + unhidden, rel=1e-3)
    assert simulate(rates, 64, 64 * 16).step_seconds == pytest.approx(predicted.seconds, rel=1e-6)


def test_the_slowest_process_decides() -> None:
    step = {**settings()["step"], "spread": 0.05}
    rates = rates_of(step=step, gradients={"parameters": 1})
    simulated = [simulate(rates, count, 16 * count, steps=200).step_seconds for count in (1, 8, 64)]
    assert simulated == sorted(simulated) and simulated[0] == pytest.approx(0.1, rel=0.02)
    assert simulated[2] == pytest.approx(step_time(rates, 64, 16 * 64).seconds, rel=0.03)


def test_a_run_that_waits_for_its_workers_says_so() -> None:
    rates = rates_of(reading=reading(core_seconds=0.1))
    assert simulate(rates, 1, 16).wait_share == pytest.approx(0.5, abs=0.01)
    assert simulate(rates_of(), 1, 16).wait_share == 0.0


def test_the_same_seed_gives_the_same_run() -> None:
    rates = rates_of(step={**settings()["step"], "spread": 0.1})
    assert simulate(rates, 4, 64, seed=3) == simulate(rates, 4, 64, seed=3) != simulate(rates, 4, 64, seed=4)


def test_a_sum_within_a_machine_takes_its_faster_link() -> None:
    rates = rates_of()
    within, between = (sum_seconds(rates.gradients, rates.cluster, count) for count in (8, 16))
    assert sum_seconds(rates.gradients, rates.cluster, 1) == 0.0
    assert within == pytest.approx(2 * 7 / 8 * 1e8 / 300e9) and between == pytest.approx(2 * 15 / 16 * 1e8 / 25e9)


def test_failures_cost_half_an_interval_and_a_restart() -> None:
    failures = Failures(hours_between=1000, checkpoint_minutes=60, checkpoint_seconds=36, restart_minutes=30)
    assert lost_to_failures(failures, 1) == pytest.approx(0.01 + 1 / 1000)
    assert lost_to_failures(failures, 100) == pytest.approx(0.01 + 0.1)
    assert lost_to_failures(failures, 10_000) == 1.0
