"""Predict how many clips a second a training reaches, and what limits it.

On a CPU, networks and decoding share the cores: a clip takes the core-seconds of both, and the networks take all of
torch's threads. On a GPU they work side by side, and the slowest one counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch

from dali_pipes.config import DataConfig
from dali_pipes.jobs.cores import choose_parallelism, cores_of_rank
from dali_pipes.loader.decoder_choice import DecoderRule
from dali_pipes.nvdec.driver import name_of_gpu
from dali_pipes.nvdec.verdicts import kept_rates
from reskd.profiling.reading_cost import ReadingCost

Limit = Literal["the networks", "decoding by PyAV", "decoding by the GPU's decoder", "networks and decoding together"]
# Where files are decoded less for the same frames than this, transcoding is not worth its disk.
_WORTH_SAYING = 1.25


@dataclass(frozen=True)
class Machine:
    """What a run has.

    Args:
        cores: of this rank.
        num_workers: processes that read.
        on_gpu: whether the networks run on a GPU.
        nvdec_megapixels_per_s: codec -> decoded megapixels/s of the GPU's decoder, as gpu_check measured them.
        threads: of the networks, on a CPU.
    """

    cores: int
    num_workers: int
    on_gpu: bool = False
    nvdec_megapixels_per_s: Mapping[str, float] | None = None
    threads: int = 1

    @property
    def busy_workers(self) -> int:
        """Workers that can work at the same time."""
        return min(self.num_workers, self.cores)


@dataclass(frozen=True)
class SpeedBudget:
    """Clips/s of one rank.

    Args:
        networks: of training steps alone.
        workers: of the reading processes alone.
        nvdec: of the GPU's decoder alone; None if it decodes nothing, or gpu_check has not measured it.
        together: predicted for the run.
        limit: what limits it.
        together_transcoded: the same after ``reskd prepare transcode``.
    """

    networks: float
    workers: float
    nvdec: float | None
    together: float
    limit: Limit
    together_transcoded: float


def machine_of(config: DataConfig, rule: DecoderRule, cost: ReadingCost) -> Machine:
    """This machine, as the loader of ``config`` would use it."""
    cores, on_gpu = cores_of_rank(), rule.device == "cuda"
    chosen = choose_parallelism(cores, on_gpu=on_gpu, num_engines=rule.nvdec.num_engines, pyav_share=cost.pyav_share)
    workers = chosen.num_workers if config.loader.num_workers == "auto" else config.loader.num_workers
    rates = kept_rates(name_of_gpu(0)) if on_gpu else None
    return Machine(cores, workers, on_gpu, rates, min(cores, torch.get_num_threads()))


def predict_speed(compute_seconds: float, cost: ReadingCost, machine: Machine) -> SpeedBudget:
    """Predict a run's speed.

    Args:
        compute_seconds: wall time of a training step, per clip, of this rank.
    """
    networks, workers = 1 / compute_seconds, machine.busy_workers / cost.cpu_seconds
    nvdec = _nvdec_rate(cost, machine)
    together, limit = _together(compute_seconds, cost.cpu_seconds, nvdec, machine)
    share = cost.share_after_transcoding
    faster = None if nvdec is None else nvdec / share
    after, _ = _together(compute_seconds, cost.cpu_seconds * share, faster, machine)
    return SpeedBudget(networks, workers, nvdec, together, limit, after)


def describe_budget(budget: SpeedBudget, cost: ReadingCost, machine: Machine) -> str:
    """One line: the prediction, its parts, the limit and what transcoding would change."""
    parts = [f"networks {budget.networks:.3g}", f"{machine.num_workers} workers {budget.workers:.3g}"]
    if budget.nvdec is not None:
        parts.append(f"the GPU's decoder {budget.nvdec:.3g}")
    elif cost.megapixels_by_dali and machine.on_gpu:
        parts.append("the GPU's decoder unknown until reskd gpu-check has run")
    text = (
        f"about {budget.together:.3g} clips/s a process, limited by {budget.limit} (alone: {', '.join(parts)}); "
        f"{describe_reading(cost, machine)}"
    )
    if budget.together_transcoded >= _WORTH_SAYING * budget.together:
        text += (
            f"; reskd prepare transcode would make it about {budget.together_transcoded:.3g} clips/s, "
            f"with {cost.frames_after_transcoding:.3g} frames decoded"
        )
    return text


def describe_reading(cost: ReadingCost, machine: Machine) -> str:
    """What was measured, as a part of a line."""
    return (
        f"{cost.frames_decoded:.3g} frames are decoded for {cost.frames_used}, by PyAV in "
        f"{100 * cost.pyav_share:.0f} % of {cost.num_clips} clips; {1e3 * cost.cpu_seconds:.1f} ms of a core "
        f"(+- {100 * cost.cpu_spread:.0f} %) and {cost.kib:.0f} KiB for each, {machine.num_workers} workers"
    )


def readable_clips_per_second(cost: ReadingCost, machine: Machine) -> float | None:
    """Clips/s that can be read if the networks take no time; None if the speed of the GPU's decoder is not known."""
    nvdec = _nvdec_rate(cost, machine)
    if nvdec is None and machine.on_gpu and cost.megapixels_by_dali:
        return None
    workers = machine.busy_workers / cost.cpu_seconds
    return workers if nvdec is None else min(workers, nvdec)


def _nvdec_rate(cost: ReadingCost, machine: Machine) -> float | None:
    """Clips/s of the GPU's decoder, over all clips; None if a codec's rate is not known."""
    rates = machine.nvdec_megapixels_per_s or {}
    if not cost.megapixels_by_dali or not machine.on_gpu or set(cost.megapixels_by_dali) - set(rates):
        return None
    return 1 / sum(megapixels / rates[codec] for codec, megapixels in cost.megapixels_by_dali.items())


def _together(compute_seconds: float, cpu_seconds: float, nvdec: float | None, machine: Machine) -> tuple[float, Limit]:
    workers = machine.busy_workers / cpu_seconds
    rates: dict[Limit, float] = {"the networks": 1 / compute_seconds, "decoding by PyAV": workers}
    if nvdec is not None:
        rates["decoding by the GPU's decoder"] = nvdec
    if not machine.on_gpu:
        of_networks = compute_seconds * machine.threads
        rates["networks and decoding together"] = machine.cores / (of_networks + cpu_seconds)
        if cpu_seconds < 0.1 * of_networks:  # naming both would mislead
            rates["the networks"] = min(rates["the networks"], rates.pop("networks and decoding together"))
    limit = min(rates, key=lambda name: rates[name])
    return rates[limit], limit
