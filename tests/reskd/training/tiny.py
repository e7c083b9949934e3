"""A trainer small enough to run hundreds of steps in a test: noise clips, one convolution, dropout and batch norm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dali_pipes.batch import ClipBatch, View
from dali_pipes.fault_log import FaultLog
from reskd.distributed import World
from reskd.losses.config import LossConfig, PixelLossConfig
from reskd.losses.distillation import DistillationLoss, FeaturePair
from reskd.outputs import RecognizerOutput
from reskd.training.plan import Plan, TrainingConfig
from reskd.training.recipes.mixing import Mixer
from reskd.training.run_directory import RunDirectory
from reskd.training.schedule import ScheduleConfig
from reskd.training.settings.optimizer import OptimizerConfig
from reskd.training.trainable import Networks
from reskd.training.trainer import Trainer
from reskd.training.trainer_arguments import RunRecord, Settings, TrainingData

NUM_CLIPS, NUM_CLASSES, GLOBAL_BATCH = 24, 3, 8
SHAPES = {"teacher": (2, 16, 16), "student": (2, 8, 8)}
MOMENTS = (0.0, 1.0)


class TinyRecognizer(nn.Module):
    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, width, 3, stride=2, padding=1)
        self.middle = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in range(6))
        self.norm = nn.BatchNorm2d(width)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(width, NUM_CLASSES)
        self.gives_logit_map = False
        self.to(memory_format=torch.channels_last)

    def forward(self, frames_NTHWC: Tensor, valid_NT: Tensor | None = None) -> RecognizerOutput:
        images_BCHW = frames_NTHWC.flatten(0, 1).permute(0, 3, 1, 2).float() / 255
        features_BDHW = self.norm(self.convolution(images_BCHW)).relu()
        for layer in self.middle:
            features_BDHW = features_BDHW + layer(features_BDHW)
        features_NTDHW = features_BDHW.unflatten(0, frames_NTHWC.shape[:2])
        embedding_NE = features_NTDHW.mean((1, 3, 4))
        output = RecognizerOutput(self.head(self.dropout(embedding_NE)), features_NTDHW, embedding_NE=embedding_NE)
        if not self.gives_logit_map:
            return output
        scores_NTHWK = self.head(features_NTDHW.permute(0, 1, 3, 4, 2))
        return output._replace(logit_map_NTKHW=scores_NTHWK.permute(0, 1, 4, 2, 3))


class TinyTeacher(TinyRecognizer):
    @torch.no_grad()
    def forward(self, frames_NTHWC: Tensor, valid_NT: Tensor | None = None) -> RecognizerOutput:
        return super().forward(frames_NTHWC)


class NoiseLoader:
    """Clips whose pixels and label are a function of the position; the position arithmetic of the real loader.

    Every fifth position counts as one whose clip had to be replaced.
    """

    num_samples = NUM_CLIPS

    def __init__(self, first_batch: int, *, plan: Plan, rank: int, faults: FaultLog) -> None:
        self.first_batch, self.plan, self.rank, self.closed = first_batch, plan, rank, False
        self.faults = faults

    def __iter__(self) -> Iterator[ClipBatch]:
        plan = self.plan
        batch = self.first_batch
        while True:
            step, number = divmod(batch, plan.passes_per_step)
            start = step * plan.global_batch_size + (self.rank * plan.passes_per_step + number) * plan.clips_per_pass
            self._account(range(start, start + plan.clips_per_pass))
            yield noise_clips(torch.arange(start, start + plan.clips_per_pass))
            batch += 1

    def _account(self, positions: range) -> None:
        self.faults.num_served += len(positions)
        for position in positions:
            if position % 5 == 0:
                self.faults.num_substituted += 1
                self.faults.add(f"{position % NUM_CLIPS}.mp4", "gone", position=position, attempt=0)

    def close(self) -> None:
        self.closed = True


def noise_clips(positions_N: Tensor) -> ClipBatch:
    labels_N = positions_N % NUM_CLASSES
    views = {}
    for name, shape in SHAPES.items():
        clips = []
        for position, label in zip(positions_N.tolist(), labels_N.tolist(), strict=True):
            generator = torch.Generator().manual_seed(position % NUM_CLIPS)
            noise = torch.randint(0, 128, (*shape, 3), generator=generator, dtype=torch.uint8)
            noise[..., label] += 100
            clips.append(noise)
        index_NT = torch.arange(shape[0]).repeat(len(clips), 1)
        views[name] = View(torch.stack(clips), index_NT, torch.ones_like(index_NT, dtype=torch.bool))
    none_N = torch.zeros(len(positions_N), dtype=torch.bool)
    return ClipBatch(views, labels_N, positions_N % NUM_CLIPS, positions_N, none_N)


def make_trainer(
    folder: Path,
    *,
    world: World | None = None,
    alpha: float | None = 1.0,
    loss: LossConfig | None = None,
    teacher_width: int = 8,
    joint: bool = False,
    head: Literal["own", "shared", "frozen"] = "own",
    validations: Any = None,
    **settings: Any,
) -> Trainer:
    """``alpha`` is the pixel term's; ``loss`` takes its place. ``joint``: the teacher learns too."""
    world = world or World(0, 1, torch.device("cpu"))
    folder.mkdir(parents=True, exist_ok=True)
    config = TrainingConfig.model_validate(
        {"epochs": 4, "global_batch_size": GLOBAL_BATCH, "log_every_steps": 1, "clip_norm": 5.0, **settings}
    )
    clips_per_pass = config.max_clips_per_pass or GLOBAL_BATCH // world.size
    plan = Plan.make(config, num_clips=NUM_CLIPS, clips_per_pass=clips_per_pass, world_size=world.size)
    torch.manual_seed(0)
    student, teacher = TinyRecognizer(), TinyRecognizer(teacher_width)
    if not joint:
        teacher = TinyTeacher(teacher_width).eval().requires_grad_(False)
    if head == "shared":
        student.head = teacher.head
    if head == "frozen":
        student.head.requires_grad_(False)
    loss = loss or LossConfig(pixel=PixelLossConfig(alpha=alpha) if alpha is not None else None)
    student.gives_logit_map = teacher.gives_logit_map = loss.logit_map is not None
    distils = bool(loss.distillation_terms)
    pair = FeaturePair(8, teacher_width, MOMENTS, MOMENTS, student_embedding_dim=8, teacher_embedding_dim=teacher_width)
    run = RunDirectory(folder)

    def make_loader(first_batch: int) -> NoiseLoader:
        faults = FaultLog(run.quarantine("train", world.rank), max_bad_fraction=1.0)
        return NoiseLoader(first_batch, plan=plan, rank=world.rank, faults=faults)

    description = {"manifest_hash": "m", "teacher_hash": "t", "class_names": ["a", "b", "c"], "total_steps": 12}
    return Trainer(
        Networks(student, teacher if distils else None, DistillationLoss(loss, pair if distils else None)),
        Settings(config, OptimizerConfig(lr=0.05), ScheduleConfig(), seed=3),
        TrainingData(
            plan,
            make_loader,
            SHAPES if distils else {"student": SHAPES["student"]},
            mixer=Mixer(config.mixing, seed=3, num_classes=NUM_CLASSES) if config.mixing else None,
        ),
        RunRecord(run, description),
        validations=validations or {},
        world=world,
    )


def quarantined(folder: Path) -> list[int]:
    """The positions in the quarantines of all ranks, in order."""
    paths = RunDirectory(folder).training_quarantines()
    return sorted(int(line.split(",")[2]) for path in paths for line in path.read_text().splitlines()[1:])


def losses(lines: list[Mapping[str, float]]) -> list[tuple[float, ...]]:
    """The numbers that must repeat to the bit; speeds may not."""
    return [tuple(value for name, value in sorted(line.items()) if not name.startswith("speed/")) for line in lines]
