"""How long a step takes on n processes, on paper.

Note [The model]
A step of n processes takes what the slowest of these needs:

    networks    step(B / n) * (1 + spread * sqrt(2 ln n)) + what the backward pass does not hide of the sum
    workers     B / n clips by the workers of a process, on its part of the machine's cores
    decoder     B / n clips by the GPU's decoder
    storage     B clips over what the storage gives
    cores       on a CPU, where networks and workers use the same cores: the core-seconds of both

B: clips of a step, over all processes; n enlarges no step. sqrt(2 ln n) standard deviations is the mean of the largest
of n normal numbers, for large n. The sum is an all-reduce of G bytes over the slowest link, 2 (n - 1) / n * G /
bandwidth (the least that any algorithm needs: Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for clusters
of workstations", 2009), and 2 log2(n) messages of a tree. DDP sums a bucket as soon as the backward pass has filled it,
so the last bucket is never hidden, and what is longer than the backward pass is not either.

A run on n processes fails n times as often as on one. A failure costs half the time between checkpoints and a restart.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from reskd.scaling.config import Cluster, Failures, Gradients, Rates

Limit = Literal["networks", "workers", "decoder", "storage", "cores"]
_BYTES_OF_GRADIENT = 4


class StepTime(NamedTuple):
    """One step of all processes.

    Args:
        seconds: of the step.
        limit: what it is waiting for.
        sum_seconds: of summing gradients, hidden or not.
        unhidden_seconds: the part of it that lengthens the step.
        storage_gb_per_s: that all processes read.
    """

    seconds: float
    limit: Limit
    sum_seconds: float
    unhidden_seconds: float
    storage_gb_per_s: float


def step_time(rates: Rates, processes: int, clips_per_step: int) -> StepTime:
    """Predict a step; see Note [The model].

    Args:
        clips_per_step: over all processes; at least one each.
    """
    cluster, reading = rates.cluster, rates.reading
    clips, cores = clips_per_step / processes, cluster.cores_per_node / min(processes, cluster.processes_per_node)
    compute = rates.step.seconds(clips)
    summed = sum_seconds(rates.gradients, cluster, processes)
    unhidden = max(summed - rates.step.backward_share * compute, last_bucket_share(rates.gradients) * summed)
    slowest = compute * (1 + rates.step.spread * math.sqrt(2 * math.log(processes)))
    needed: dict[Limit, float] = {"networks": slowest + unhidden}
    core_seconds = gigabytes = 0.0
    if reading is not None:
        core_seconds, gigabytes = clips * reading.core_seconds, clips_per_step * reading.kib * 1024 / 1e9
        needed["workers"] = core_seconds / min(reading.workers, cores)
        if reading.decoder_clips_per_second is not None:
            needed["decoder"] = clips / reading.decoder_clips_per_second
        if cluster.storage_gb_per_s is not None:
            needed["storage"] = gigabytes / cluster.storage_gb_per_s
    if not cluster.on_gpu:
        needed["cores"] = (compute + core_seconds) / cores + unhidden
    limit = max(needed, key=lambda name: needed[name])
    return StepTime(needed[limit], limit, summed, unhidden, gigabytes / needed[limit])


def sum_seconds(gradients: Gradients, cluster: Cluster, processes: int) -> float:
    """Of one sum of all gradients."""
    if processes == 1:
        return 0.0
    is_one_node = processes <= cluster.processes_per_node
    bandwidth = 1e9 * (cluster.node_gb_per_s if is_one_node else cluster.network_gb_per_s)
    size = _BYTES_OF_GRADIENT * gradients.parameters
    messages = 2 * math.ceil(math.log2(processes)) * cluster.latency_us / 1e6
    return 2 * (processes - 1) / processes * size / bandwidth + messages


def last_bucket_share(gradients: Gradients) -> float:
    """The part of the gradients that is summed after the backward pass."""
    return min(1.0, gradients.bucket_mib * 2**20 / (_BYTES_OF_GRADIENT * gradients.parameters))


def lost_to_failures(failures: Failures, processes: int) -> float:
    """The share of a run's time that failures and checkpoints cost."""
    between = failures.checkpoint_minutes / 60
    checkpoints = failures.checkpoint_seconds / 3600 / between
    of_failure = between / 2 + failures.restart_minutes / 60
    return min(1.0, checkpoints + of_failure * processes / failures.hours_between)
