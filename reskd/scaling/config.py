"""What one process was measured at, and the cluster it is to run on: the YAML file of ``reskd analyze scaling``."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from pydantic import Field, ValidationError, field_validator

from dali_pipes.strict_config import StrictConfig
from reskd.experiment.config_errors import explain
from reskd.yaml_reading import read_yaml_file

_SECONDS = Field(gt=0, le=1e6, description="of the step")


class StepPoint(StrictConfig):
    """A training step on made-up batches, as ``reskd profile train`` prints it under "synthetic"."""

    clips: int = Field(ge=1, description="of one process")
    seconds: float = _SECONDS


class StepRates(StrictConfig):
    """Steps of one process."""

    measured: tuple[StepPoint, ...] = Field(min_length=1, description="with rising numbers of clips")
    backward_share: float = Field(ge=0, le=1, description="of a step, which can hide the sum of gradients")
    fixed_seconds: float = Field(0.0, ge=0, le=1e6, description="of a step of no clips; only used with one point")
    spread: float = Field(0.02, ge=0, le=1, description="standard deviation of steps over their mean")

    @field_validator("measured")
    @classmethod
    def _rising(cls, points: tuple[StepPoint, ...]) -> tuple[StepPoint, ...]:
        if any(one.clips >= other.clips or one.seconds > other.seconds for one, other in pairwise(points)):
            raise ValueError("expected points with rising clips and no falling seconds")
        return points

    def seconds(self, clips: float) -> float:
        """Of a step with so many clips: on the lines between the points, and beyond them on the nearest line."""
        points = [(point.clips, point.seconds) for point in self.measured]
        if len(points) == 1:
            (measured_clips, measured_seconds), fixed = points[0], min(self.fixed_seconds, points[0][1])
            return fixed + (measured_seconds - fixed) * clips / measured_clips
        place = next((number for number, point in enumerate(points[1:-1], 1) if clips <= point[0]), len(points) - 1)
        (low, low_seconds), (high, high_seconds) = points[place - 1], points[place]
        return max(0.0, low_seconds + (high_seconds - low_seconds) * (clips - low) / (high - low))


class ReadingRates(StrictConfig):
    """Clips of one process's loader, as ``reskd doctor CONFIG`` measures them."""

    core_seconds: float = Field(gt=0, le=1e6, description="of a worker, for a clip")
    kib: float = Field(ge=0, description="that are read for a clip")
    workers: int = Field(ge=1, le=1024, description="processes that read")
    prefetch: int = Field(2, ge=1, le=64, description="batches read ahead")
    spread: float = Field(0.5, ge=0, le=10, description="standard deviation of clips over their mean")
    decoder_clips_per_second: float | None = Field(
        None, gt=0, description="of the GPU's decoder, which takes what workers have read; none: workers decode"
    )


class Gradients(StrictConfig):
    """What ranks sum at each step."""

    parameters: int = Field(ge=1, le=10**12, description="that learn; four bytes each")
    bucket_mib: float = Field(25.0, gt=0, description="the last of these is summed after the backward pass; DDP's 25")


class Cluster(StrictConfig):
    """Machines, all alike.

    Bandwidths are of all-reduce as nccl-tests call it "bus bandwidth", in GB/s (1e9 bytes).
    """

    on_gpu: bool = Field(description="false: the step needs a core of the machine")
    processes_per_node: int = Field(ge=1, le=1024, description="of a training, one for each GPU")
    cores_per_node: float = Field(
        gt=0, le=4096, description="what all cores together do, in single cores: less than their number if they share"
    )
    node_gb_per_s: float = Field(gt=0, description="within a machine")
    network_gb_per_s: float = Field(gt=0, description="between machines, for each process")
    latency_us: float = Field(10.0, ge=0, description="of a message")
    storage_gb_per_s: float | None = Field(None, gt=0, description="over all machines; none: local disks, never full")


class Failures(StrictConfig):
    """What stops a run, and what is lost then."""

    hours_between: float = Field(gt=0, description="for one process")
    checkpoint_minutes: float = Field(gt=0, description="between checkpoints")
    checkpoint_seconds: float = Field(ge=0, description="in which training waits")
    restart_minutes: float = Field(ge=0, description="until the first step after a failure")


class Rates(StrictConfig):
    """The whole file."""

    about: str = Field(description="where the numbers come from")
    step: StepRates = Field(description="what a training step takes")
    reading: ReadingRates | None = Field(None, description="none: data cost nothing")
    gradients: Gradients = Field(description="what ranks sum at each step")
    cluster: Cluster = Field(description="machines and what connects them")
    failures: Failures | None = Field(None, description="none: nothing fails")


def read_rates(path: Path) -> Rates:
    """Read such a file.

    Raises:
        ValueError: it is no YAML, or a setting is missing, unknown or out of bounds; one line for each.
        OSError: it cannot be read.
    """
    try:
        return Rates.model_validate(read_yaml_file(path).value)
    except ValidationError as error:
        raise ValueError("\n".join(f"{path}: {fault.sentence}" for fault in explain(error, Rates))) from None
