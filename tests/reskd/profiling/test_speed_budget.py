from __future__ import annotations

import pytest

from reskd.profiling.reading_cost import ReadingCost
from reskd.profiling.speed_budget import Machine, describe_budget, predict_speed, readable_clips_per_second

CHEAP = ReadingCost(16, 0.01, frames_used=8, frames_decoded=50, frames_after_transcoding=20)
COSTLY = ReadingCost(16, 0.2, frames_used=8, frames_decoded=150, frames_after_transcoding=20)
ON_GPU = ReadingCost(16, 0.004, 8, 50, 20, {"h264": 4.0}, pyav_share=0.0)


def test_a_cpu_gives_a_clip_the_core_seconds_of_both() -> None:
    """0.5 s of two cores and 0.2 s of one: 1.2 core-seconds for a clip."""
    budget = predict_speed(0.5, COSTLY, Machine(cores=2, num_workers=2, threads=2))
    assert budget.limit == "networks and decoding together"
    assert budget.together == pytest.approx(2 / 1.2)
    assert (budget.networks, budget.workers) == (pytest.approx(2.0), pytest.approx(10.0))


def test_networks_of_one_thread_leave_a_core_to_the_workers() -> None:
    budget = predict_speed(0.5, COSTLY, Machine(cores=2, num_workers=1, threads=1))
    assert budget.together == budget.together_transcoded == pytest.approx(2.0)


def test_decoding_that_costs_little_is_not_named() -> None:
    assert predict_speed(0.5, CHEAP, Machine(2, 2)).limit == "the networks"


def test_few_workers_are_the_limit_before_the_cores_are() -> None:
    budget = predict_speed(0.01, COSTLY, Machine(cores=16, num_workers=2))
    assert budget.limit == "decoding by PyAV" and budget.together == pytest.approx(10.0)
    assert budget.together_transcoded == pytest.approx(75.0)


def test_on_a_gpu_the_slowest_counts() -> None:
    fast, slow = (Machine(16, 4, on_gpu=True, nvdec_megapixels_per_s={"h264": rate}) for rate in (8000.0, 800.0))
    assert predict_speed(0.001, ON_GPU, fast).limit == "the networks"
    budget = predict_speed(0.001, ON_GPU, slow)
    assert budget.limit == "decoding by the GPU's decoder" and budget.together == pytest.approx(200.0)
    assert budget.together_transcoded == pytest.approx(500.0)
    text = describe_budget(budget, ON_GPU, slow)
    assert text.startswith("about 200 clips/s a process, limited by decoding by the GPU's decoder")
    assert "transcode would make it about 500 clips/s, with 20 frames decoded" in text


def test_a_decoder_that_was_never_measured_is_said_to_be_unknown() -> None:
    machine = Machine(16, 4, on_gpu=True, nvdec_megapixels_per_s={"hevc": 800.0})
    budget = predict_speed(0.001, ON_GPU, machine)
    assert budget.nvdec is None
    assert "the GPU's decoder unknown until reskd gpu-check has run" in describe_budget(budget, ON_GPU, machine)
    assert readable_clips_per_second(ON_GPU, machine) is None


def test_transcoding_is_named_only_where_it_pays() -> None:
    machine = Machine(2, 2)
    assert "transcode" not in describe_budget(predict_speed(0.5, CHEAP, machine), CHEAP, machine)
    assert "transcode" in describe_budget(predict_speed(0.01, COSTLY, machine), COSTLY, machine)


def test_what_is_read_is_bound_by_workers_and_decoder() -> None:
    assert readable_clips_per_second(COSTLY, Machine(2, 2)) == pytest.approx(10.0)
    machine = Machine(16, 4, on_gpu=True, nvdec_megapixels_per_s={"h264": 800.0})
    assert readable_clips_per_second(ON_GPU, machine) == pytest.approx(200.0)


def test_more_workers_than_cores_read_no_faster() -> None:
    machine = Machine(cores=4, num_workers=16, on_gpu=True)
    assert predict_speed(0.001, CHEAP, machine).together == pytest.approx(400.0)
    assert readable_clips_per_second(CHEAP, machine) == pytest.approx(400.0)
