"""The training loop: a student, perhaps a teacher, and batches of clips, for a number of steps.

One step is one global batch: positions [step * G, (step + 1) * G) of the clips' endless order, split over ranks and
over the passes of one rank (gradient accumulation). Nothing in a step waits for the device.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from dali_pipes.batch import ClipBatch, FeatureView, Loader, View
from dali_pipes.faults import FaultCounts, drop_lines_from, sum_counts
from reskd.distributed import World, barrier, broadcast_buffers, gather_objects
from reskd.outputs import RecognizerOutput
from reskd.training.checkpoint import save_checkpoint
from reskd.training.meters import MetricsWriter, RunningMeans, WaitClock
from reskd.training.optimizer import OptimizerConfig, build_optimizer, set_lr
from reskd.training.plan import Plan, TrainingConfig
from reskd.training.precision import Precision
from reskd.training.rehearsal import leaving_no_trace, noise_batch
from reskd.training.run_directory import RunDirectory
from reskd.training.schedule import ScheduleConfig, lr_factor

log = logging.getLogger(__name__)


class Evaluate(Protocol):
    """Metrics of a student on the validation list, the same on every rank."""

    def __call__(self, model: nn.Module) -> Mapping[str, float]: ...

    def close(self) -> None: ...


class TrainableStudent(nn.Module):
    """The student and the loss with its parameters, as one module for DDP, the optimizer and the checkpoint."""

    def __init__(self, student: nn.Module, loss: nn.Module) -> None:
        super().__init__()
        self.student = student
        self.loss = loss

    def forward(
        self, data: Tensor, valid_NT: Tensor, targets: Tensor, taught: RecognizerOutput | None
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """(total loss, its terms without their weights, logits_NK). ``data``, ``valid_NT``: of the student's view."""
        output = self.student(data, valid_NT)
        terms = self.loss(output, targets, taught)
        return terms.total, terms.unweighted, output.logits_NK


class Trainer:
    """Trains ``student`` for ``plan.total_steps`` steps and leaves checkpoints and metrics in ``run``.

    Args:
        student: (a view's data, valid_NT) -> RecognizerOutput; on ``world.device``.
        teacher: the same for the teacher's view, under no_grad; None trains on labels alone.
        loss: (student's output, batch.targets, teacher's output) -> LossTerms.
        make_loader: number of the first batch -> endless training batches of ``plan.clips_per_pass`` clips.
        evaluate: scores the student after an epoch; closed at the end of ``fit``; None without validation.
        view_shapes: view name -> (T, H, W), or (T, D) of features, for the rehearsal.
        description: what a checkpoint says about its run besides the weights: plain values only.
    """

    def __init__(
        self,
        *,
        student: nn.Module,
        teacher: nn.Module | None,
        loss: nn.Module,
        make_loader: Callable[[int], Loader],
        evaluate: Evaluate | None,
        plan: Plan,
        config: TrainingConfig,
        optimizer: OptimizerConfig,
        schedule: ScheduleConfig,
        seed: int,
        world: World,
        run: RunDirectory,
        view_shapes: Mapping[str, tuple[int, ...]],
        description: Mapping[str, Any],
    ) -> None:
        self.trainable = TrainableStudent(student, loss).to(world.device)
        self.teacher = teacher
        self.make_loader, self.evaluate = make_loader, evaluate
        self.plan, self.config, self.schedule, self.peak_lr = plan, config, schedule, optimizer.lr
        self.seed, self.world, self.run = seed, world, run
        self.view_shapes, self.description = view_shapes, description
        self.precision = Precision(config.precision, world.device)
        self.optimizer = build_optimizer(self.trainable, optimizer)
        self.num_steps = 0
        self.best: dict[str, float] = {}
        self.faults: FaultCounts = sum_counts(())  # of all ranks, up to the last checkpoint
        self.parallel: nn.Module = self.trainable
        if world.size > 1:
            device_ids = [world.device] if world.device.type == "cuda" else None
            self.parallel = DistributedDataParallel(self.trainable, device_ids=device_ids, gradient_as_bucket_view=True)

    def fit(self, on_log: Callable[[int, Mapping[str, float]], None] | None = None) -> dict[str, float]:
        """Train from ``num_steps`` to the end. Returns the last metrics; ``on_log`` gets each line as it is written.

        Raises:
            FloatingPointError: the loss is not finite; last.pt is the last good state.
        """
        self._rehearse()
        latest: dict[str, float] = {}
        clock, means = WaitClock(), RunningMeans()
        with ExitStack() as stack:
            loader = self._open_loader()
            stack.callback(loader.close)
            if self.evaluate:
                stack.callback(self.evaluate.close)
            writer = stack.enter_context(self._open_writer()) if self.world.is_main else None
            batches = clock.timed(loader)
            while self.num_steps < self.plan.total_steps:
                batch = self.train_step(batches, means)
                if writer and self.num_steps == 1:
                    _show_views(writer, batch)
                if not (self._saves_now() or self.num_steps % self.config.log_every_steps == 0):
                    continue
                values = self._pop(means, clock)
                if self.evaluate and self._evaluates_now():
                    values |= self._validate()
                if writer:
                    writer.scalars(self.num_steps, values)
                latest |= values
                if self._saves_now():
                    self.faults = sum_counts(gather_objects(loader.faults.counts(), self.world))
                    self._save(latest)
                    clock.restart()
                if on_log:
                    on_log(self.num_steps, values)
        return latest

    def _open_loader(self) -> Loader:
        """Clips from this step on, and the account of bad ones as it was there."""
        if self.world.is_main:
            for quarantine in self.run.training_quarantines():
                drop_lines_from(quarantine, self.num_steps * self.plan.global_batch_size)
        barrier(self.world)  # the next line of a rank goes into the new file
        loader = self.make_loader(self.num_steps * self.plan.passes_per_step)
        loader.faults.go_on(self.faults, rank=self.world.rank, world_size=self.world.size)
        return loader

    def train_step(self, batches: Iterator[ClipBatch], means: RunningMeans) -> ClipBatch:
        """One global batch through equation (1) of the paper, then one update of the student."""
        self._reseed()
        set_lr(self.optimizer, self._lr())
        self.parallel.train()
        for number in range(self.plan.passes_per_step):
            batch = next(batches).to(self.world.device, non_blocking=True)
            is_last = number == self.plan.passes_per_step - 1
            with self._gradients_joined(is_last):
                means.update(self._forward_backward(batch))
        if self.config.clip_norm is not None:
            self.precision.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.trainable.parameters(), self.config.clip_norm)
        self.precision.scaler.step(self.optimizer)
        self.precision.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.num_steps += 1
        return batch

    def _forward_backward(self, batch: ClipBatch) -> dict[str, Tensor]:
        with self.precision.autocast():
            taught = _shown(self.teacher, batch.views["teacher"]) if self.teacher is not None else None
            seen = batch.views["student"]
            total, terms, logits_NK = self.parallel(seen.data, seen.valid_NT, batch.targets, taught)
        self.precision.scaler.scale(total / self.plan.passes_per_step).backward()
        return {
            "loss/total": total,
            **{f"loss/{name}": term for name, term in terms.items()},
            **_accuracies(logits_NK.detach(), batch),
            "data/substituted_share": batch.substituted_N.float().mean(),
        }

    def _gradients_joined(self, is_last: bool) -> Any:
        """Ranks sum their gradients in the last pass of a step only."""
        if isinstance(self.parallel, DistributedDataParallel) and not is_last:
            return self.parallel.no_sync()
        return nullcontext()

    def _rehearse(self) -> None:
        """One forward and backward on noise before the first step, leaving no trace.

        Note [Why rehearse]
        DDP sorts its gradient buckets anew after its first backward, which changes the order in which three or more
        ranks are summed. A run would cross that change once, a resumed run twice, and their losses would part.
        After a rehearsal both start with the buckets in their final order. It also finds a batch that does not fit,
        before any clip is decoded.
        """
        self._reseed()
        self.parallel.train()
        with leaving_no_trace(self.trainable):
            self._forward_backward(noise_batch(self.view_shapes, self.plan.clips_per_pass).to(self.world.device))

    def _reseed(self) -> None:
        """Dropout's masks are a function of (seed, step, rank): Note [No generator state] in checkpoint.py."""
        digest = hashlib.sha256(f"{self.seed}/{self.num_steps}/{self.world.rank}".encode()).digest()
        torch.manual_seed(int.from_bytes(digest[:7], "little"))

    def _lr(self) -> float:
        return self.peak_lr * lr_factor(
            self.schedule,
            step=self.num_steps,
            total_steps=self.plan.total_steps,
            steps_per_epoch=self.plan.steps_per_epoch,
        )

    def _evaluates_now(self) -> bool:
        is_end = self.num_steps == self.plan.total_steps
        return is_end or self.plan.ends_epoch(self.num_steps, every=self.config.evaluate_every_epochs)

    def _saves_now(self) -> bool:
        by_step = self.num_steps % self.config.checkpoint_every_steps == 0
        return by_step or self.num_steps == self.plan.total_steps or self.plan.ends_epoch(self.num_steps)

    def _pop(self, means: RunningMeans, clock: WaitClock) -> dict[str, float]:
        values, num_passes = means.pop(self.world)
        if not math.isfinite(values["loss/total"]):
            raise FloatingPointError(
                f"the loss is {values['loss/total']} by step {self.num_steps}; expected a finite number. Lower "
                "optimizer.lr or set training.clip_norm; last.pt holds the last state that was saved."
            )
        seconds, wait_share = clock.pop()
        values["train/epoch"] = self.num_steps / self.plan.steps_per_epoch
        values["train/lr"] = self.optimizer.param_groups[0]["lr"] / self.optimizer.param_groups[0]["lr_factor"]
        num_clips = num_passes * self.plan.clips_per_pass * self.world.size
        values["speed/clips_per_second"] = num_clips / seconds
        values["speed/data_wait_share"] = wait_share
        if self.world.device.type == "cuda":
            values["speed/gpu_memory_gib"] = torch.cuda.max_memory_allocated() / 2**30
        if self.precision.choice == "fp16":
            values["train/loss_scale"] = self.precision.scaler.get_scale()
        return values

    def _validate(self) -> dict[str, float]:
        assert self.evaluate is not None
        broadcast_buffers(self.trainable, self.world)
        metrics = self.evaluate(self.trainable.student)
        return {f"val/{name}": value for name, value in metrics.items()}

    def _save(self, latest: Mapping[str, float]) -> None:
        score = latest.get(f"val/{self.config.selection_metric}") if self._evaluates_now() else None
        is_best = score is not None and score > self.best.get("score", -math.inf)
        if score is not None and is_best:
            self.best = {"score": score, "step": float(self.num_steps)}
        if self.world.is_main:
            state = self.state()
            if is_best:
                save_checkpoint(self.run.best, state)
            keep = self.config.keep_every_epochs
            if keep and self.plan.ends_epoch(self.num_steps, every=keep):
                epoch = self.plan.epochs_after(self.num_steps)
                save_checkpoint(self.run.path / f"epoch_{epoch:03d}.pt", state)
            save_checkpoint(self.run.last, state)
        barrier(self.world)

    def state(self) -> dict[str, Any]:
        """All that resume, export and predict need. No generator state: see Note [No generator state]."""
        return {
            **self.description,
            "student": self.trainable.student.state_dict(),
            "loss": self.trainable.loss.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.precision.scaler.state_dict(),
            "num_steps": self.num_steps,
            "global_batch_size": self.plan.global_batch_size,
            "world_size": self.world.size,
            "best": self.best,
            "faults": self.faults,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state``. Raises ValueError when it belongs to other clips or another teacher."""
        for key in ("manifest_hash", "teacher_hash", "class_names", "global_batch_size"):
            mine = self.plan.global_batch_size if key == "global_batch_size" else self.description.get(key)
            if state.get(key) != mine:
                raise ValueError(
                    f"the checkpoint's {key} is {state.get(key)!r}, this run's is {mine!r}; expected the same. The "
                    "data or the teacher has changed since: start anew with --overwrite, or under another name=...."
                )
        if state["world_size"] != self.world.size:
            log.info(
                "resuming with %d processes what ran with %d: the same clips in each step, but not the same bits",
                self.world.size,
                state["world_size"],
            )
        self.trainable.student.load_state_dict(state["student"])
        self.trainable.loss.load_state_dict(state["loss"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.precision.scaler.load_state_dict(state["scaler"])
        self.num_steps, self.best = state["num_steps"], dict(state["best"])
        self.faults = sum_counts([state["faults"]] if "faults" in state else [])  # the first checkpoints had none

    def _open_writer(self) -> MetricsWriter:
        return MetricsWriter(self.run.metrics, self.run.tensorboard, first_step=self.num_steps)


def _accuracies(logits_NK: Tensor, batch: ClipBatch) -> dict[str, Tensor]:
    """Top-1 and top-5; none for several labels a video, as in ``classification_metrics``."""
    if batch.label_sets_NK is not None:
        return {}
    top5_NR = logits_NK.topk(min(5, logits_NK.shape[1])).indices
    hits_NR = (top5_NR == batch.labels_N[:, None]).float()
    return {"train/top1": hits_NR[:, 0].mean(), "train/top5": hits_NR.sum(1).mean()}


def _shown(model: nn.Module, view: View | FeatureView) -> RecognizerOutput:
    output: RecognizerOutput = model(view.data, view.valid_NT)
    return output


def _show_views(writer: MetricsWriter, batch: ClipBatch) -> None:
    for name, view in batch.views.items():
        if isinstance(view, View):
            writer.images(1, f"view/{name}", view.data_NTHWC[0])
