"""The training loop: trains a student, with or without a teacher, for a number of steps.

One step is one global batch: positions [step * G, (step + 1) * G) of the clips' endless order, split over ranks and
over the passes of one rank (gradient accumulation). Nothing in a step waits for the device.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from dali_pipes.batch import ClipBatch, Loader
from dali_pipes.fault_log import FaultCounts, drop_lines_from, sum_counts
from reskd.distributed import (
    StopAgreement,
    World,
    averaging_gradients,
    barrier,
    data_parallel,
    gather_objects,
)
from reskd.losses.diagnostics import describe
from reskd.runtime.step_clock import StepClock
from reskd.stop_signals import Stopped
from reskd.training import loss_balance
from reskd.training.board.labeled_clips import Answered, captions_of
from reskd.training.checkpoint import check_resumable, save_checkpoint
from reskd.training.divergence import Guard
from reskd.training.dry_run import leaving_no_trace, noise_batch, within_memory
from reskd.training.metrics_log import MetricsWriter, RunningMeans, accuracies
from reskd.training.optimizer import load_moments, set_lr
from reskd.training.plan import Milestones
from reskd.training.precision import Precision
from reskd.training.recipes.early_stopping import EarlyStopping
from reskd.training.recipes.mixing import unmixed
from reskd.training.recipes.weight_averaging import average_of
from reskd.training.schedule import factor_at
from reskd.training.trainable import Networks, Trainable, build_learners, inputs_of
from reskd.training.trainer_arguments import RunRecord, Settings, TrainingData, Validate, validate_all

OnLog = Callable[[int, Mapping[str, float]], None]


class Trainer:
    """Trains a student for ``data.plan.total_steps`` steps and leaves checkpoints and metrics in the run's folder.

    Args:
        networks: on ``world.device``.
        validations: score the "student" (logged as val/) and a joint "teacher" (val_teacher/) after an epoch; closed at
            the end of ``fit``. Empty without validation.
    """

    def __init__(
        self,
        networks: Networks,
        settings: Settings,
        data: TrainingData,
        record: RunRecord,
        *,
        validations: Mapping[str, Validate],
        world: World,
    ) -> None:
        self.trainable = Trainable.of(networks).to(world.device)
        self.teacher = networks.frozen_teacher
        self.config, self.schedule, self.seed = settings.training, settings.schedule, settings.seed
        self.peak_lr = settings.optimizer.lr
        self.plan, self.make_loader, self.view_shapes = data.plan, data.make_loader, data.view_shapes
        self.run, self.description = record.directory, record.description
        self.open_loggers = record.open_loggers
        self.validations, self.world = validations, world
        self.readable = data.readable_clips_per_second
        self.precision = Precision(self.config.precision, world.device, passes_per_step=data.plan.passes_per_step)
        self.learners = build_learners(self.trainable, settings.optimizer)
        self.milestones = Milestones(self.config, self.plan)
        self.mix = data.mixer or unmixed
        self.average = average_of(self.trainable.student, self.config.ema)
        self.stopping = EarlyStopping(self.config.early_stopping, self.config.is_better)
        self.num_steps = 0
        self.best: dict[str, float] = {}
        self.faults: FaultCounts = sum_counts(())  # of all ranks, up to the last checkpoint
        self.means, self.guard = RunningMeans(), Guard(record.directory, world)
        self.latest: dict[str, float] = {}
        self.answered: Answered | None = None  # on rank 0, in a step that ends an epoch
        self.before_save: Callable[[], None] = lambda: None  # on rank 0
        self.parallel = data_parallel(self.trainable, world)

    def fit(self, on_log: OnLog | None = None) -> dict[str, float]:
        """Train from ``num_steps`` to the end. Returns the last metrics; ``on_log`` gets each line when it is written.

        Raises:
            FloatingPointError: the run diverges; last.pt is the last good state. Every rank raises it.
            Stopped: a signal asked for it; the last step is saved.
        """
        self._dry_run()
        with ExitStack() as stack:
            clock = stack.enter_context(StepClock(self, readable=self.readable))
            agreement = StopAgreement(self.world)
            stack.enter_context(self.world.signals.deferred())
            loader = self._open_loader()
            stack.callback(loader.close)
            for validate in self.validations.values():
                stack.callback(validate.close)
            writer = None
            if self.world.is_main:
                files = self.run.metrics, self.run.tensorboard, self.open_loggers
                settings = self.description.get("config")
                writer = stack.enter_context(MetricsWriter(*files, first_step=self.num_steps, settings=settings))
            batches = clock.timed(loader)
            while self.num_steps < self.plan.total_steps and not self.stopping.is_over:
                batch = self.train_step(batches)
                clock.end_step()
                if self.num_steps == 1:
                    self._log_first_step(batch, writer)
                asked = agreement.poll()
                saves_now = self.milestones.saves(self.num_steps)
                if saves_now or asked:
                    self._watch_what_is_saved(batch)
                values = self._logged(clock, writer) if self.milestones.logs(self.num_steps) else None
                if saves_now or asked:
                    self.faults = sum_counts(gather_objects(loader.faults.counts(), self.world))
                    self.save()
                    if writer and self.answered:
                        self._show_clips(batch, self.answered, writer)
                    clock.restart()
                if on_log and values is not None:
                    on_log(self.num_steps, values)
                if asked:
                    agreement.finish()
                    raise Stopped(asked, f"step {self.num_steps} is saved; run the same command again to go on.")
            agreement.finish()
        if self.stopping.is_over:
            self.stopping.log_end(self.num_steps, self.plan.total_steps)
        return self.latest

    def _logged(self, clock: StepClock, writer: MetricsWriter | None) -> dict[str, float]:
        """The metrics since the last logged step, written to the run's files."""
        values = self._pop(clock)
        values |= loss_balance.shares_of(values, self.trainable.loss.weights())
        is_joint = self.trainable.teacher is not None
        if is_joint and self.plan.first_epoch_ends(self.num_steps) and self.world.is_main:
            # Note [When two networks are fresh] in loss_balance.py.
            terms = loss_balance.balance_of(values, self.trainable.loss.weights())
            loss_balance.log_imbalance(terms, when="after an epoch")
        if self.validations and self.milestones.evaluates(self.num_steps):
            values |= validate_all(self.validations, self._learned(), self.world)
            self.stopping.count(values.get(f"val/{self.config.selection_metric}"))
        if writer:
            writer.scalars(self.num_steps, values)
        self.latest |= values
        return values

    def _open_loader(self) -> Loader:
        """Clips from this step on, with the fault counts of this step."""
        if self.world.is_main:
            for quarantine in self.run.training_quarantines():
                drop_lines_from(quarantine, self.num_steps * self.plan.global_batch_size)
        barrier(self.world)  # a rank's next line must go into the new file
        loader = self.make_loader(self.num_steps * self.plan.passes_per_step)
        loader.faults.restore(self.faults, rank=self.world.rank, world_size=self.world.size)
        return loader

    def train_step(self, batches: Iterator[ClipBatch]) -> ClipBatch:
        """One global batch through equation (1) of the paper, then one update of each trained network.

        Each pass: autocast, teacher, student, loss, backward. Then clip and step.
        """
        self._reseed()
        for learner in self.learners:
            set_lr(learner.optimizer, self._lr())
        self.parallel.train()
        for number in range(self.plan.passes_per_step):
            positions_N = self.plan.positions_of_pass(self.num_steps, number, rank=self.world.rank)
            batch, targets = self.mix(next(batches).to(self.world.device, non_blocking=True), positions_N)
            with averaging_gradients(self.parallel, now=number == self.plan.passes_per_step - 1):
                values = self._forward_backward(batch, targets, diagnoses=self.config.diagnoses(self.num_steps + 1))
            self.means.update(values)
            self.guard.watch_losses(self.num_steps + 1, values)
        for number, learner in enumerate(self.learners):
            norm = learner.update(self.precision.scaler, self.config.clip_norm)
            self.guard.watch_norm(self.num_steps + 1, norm, is_teachers=number > 0)
        self.precision.scaler.update()
        self.trainable.zero_grad(set_to_none=True)
        self.trainable.loss.end_step()
        self.num_steps += 1
        if self.average is not None:
            self.average.update(self.num_steps)
        return batch

    def _forward_backward(
        self, batch: ClipBatch, targets: Tensor | None = None, *, diagnoses: bool = False
    ) -> dict[str, Tensor]:
        """One pass. ``Trainable.forward`` runs a joint teacher, the student and the loss. ``targets``: else labels."""
        inputs, targets = inputs_of(batch), batch.targets if targets is None else targets
        with self.precision.autocast():
            teacher_output = self.teacher(*inputs["teacher"]) if self.teacher is not None else None
            output = self.parallel(inputs, targets, teacher_output)
        scale = self.precision.loss_scale  # computed where a pass is measured
        diagnosis = self.trainable.diagnose(output, scale()) if diagnoses else {}
        self.trainable.count_for_weights(output, scale, step=self.num_steps + 1, world=self.world)
        shows = self.world.is_main and self.milestones.shows_clips(self.num_steps + 1)
        self.answered = Answered.first_of(output.student.logits_NK, targets) if shows else None
        self.precision.scaler.scale(output.total / self.plan.passes_per_step).backward()
        return {
            **{f"loss/{name}": value for name, value in output.losses.items()},
            **diagnosis,
            **accuracies(output.student.logits_NK.detach(), batch),
            "data/substituted_share": batch.substituted_N.float().mean(),
        }

    def _log_first_step(self, batch: ClipBatch, writer: MetricsWriter | None) -> None:
        """Log the step's clips and the size of its loss terms."""
        terms = loss_balance.balance_of(self.means.peek(self.world), self.trainable.loss.weights())
        if writer:
            writer.views(1, batch)
            loss_balance.log_first_step(terms, self.run.loss_balance, judges=self.trainable.teacher is None)

    def _show_clips(self, batch: ClipBatch, answered: Answered, writer: MetricsWriter) -> None:
        """Clips of an epoch's last pass, with the student's answers in that step."""
        names, scores = self.description["class_names"], self.trainable.loss.config.scores
        writer.labeled_clips(self.num_steps, batch, captions_of(answered, names, scores))

    def _dry_run(self) -> None:
        """One forward and backward on noise before the first step; it changes no state: see dry_run.py."""
        self._reseed()
        self.parallel.train()
        with leaving_no_trace(self.trainable), self.precision.refused_if_missing(), within_memory(self.world):
            batch = noise_batch(self.view_shapes, self.plan.clips_per_pass).to(self.world.device)
            self._forward_backward(batch, diagnoses=self.config.diagnose_every_steps is not None)

    def _reseed(self) -> None:
        """Dropout masks are a function of (seed, step, rank): Note [No generator state] in checkpoint.py."""
        digest = hashlib.sha256(f"{self.seed}/{self.num_steps}/{self.world.rank}".encode()).digest()
        torch.manual_seed(int.from_bytes(digest[:7], "little"))

    def _lr(self) -> float:
        return self.peak_lr * factor_at(self.schedule, self.plan, self.num_steps)

    @torch.no_grad()
    def _watch_what_is_saved(self, batch: ClipBatch) -> None:
        """Have the guard look at the state, and at the updated networks' task losses on the last pass's clips."""
        self._reseed()
        with leaving_no_trace(self.trainable), self.precision.autocast():
            losses = self.trainable.task_losses(inputs_of(batch), batch.targets)
        self.guard.watch_state(self.num_steps, self.state(), losses)

    def _pop(self, clock: StepClock) -> dict[str, float]:
        means, num_passes = self.means.pop(self.world)
        values = describe(means, num_shares=self.plan.shares_of_step)
        self.guard.check_means(self.num_steps, values, loss_scale=self.precision.scaler.get_scale())
        values["train/epoch"] = self.num_steps / self.plan.steps_per_epoch
        group = self.learners[0].optimizer.param_groups[0]
        values["train/lr"] = group["lr"] / group["lr_factor"]
        values |= clock.pop(num_passes * self.plan.clips_per_pass * self.world.size)
        if self.precision.choice == "fp16":
            values["train/loss_scale"] = self.precision.scaler.get_scale()
        return values

    def save(self) -> None:
        self.guard.check(self.num_steps)
        step = self.num_steps
        unlogged = None if self.milestones.logs(step) else self.means.saved(self.world)
        score = self.latest.get(f"val/{self.config.selection_metric}") if self.milestones.evaluates(step) else None
        if is_best := score is not None and self.config.is_better(score, than=self.best.get("score")):
            self.best = {"score": score, "step": float(step)}
        if self.world.is_main:
            self.before_save()
            kept = [self.run.kept(self.plan.epochs_after(step))] if self.milestones.keeps(step) else []
            state = {**self.state(), "unlogged_means": unlogged}
            for path in ([self.run.best] if is_best else []) + kept + [self.run.last]:
                save_checkpoint(path, state)
        barrier(self.world)

    def state(self) -> dict[str, Any]:
        """Everything that resume, export and predict need. No generator state: see Note [No generator state]."""
        return {
            **self.description,
            **{name: module.state_dict() for name, module in self._learned().items()},
            **{name: optimizer.state_dict() for name, optimizer in self._optimizers().items()},
            "scaler": self.precision.scaler.state_dict(),
            "num_steps": self.num_steps,
            "global_batch_size": self.plan.global_batch_size,
            "world_size": self.world.size,
            "best": self.best,
            "faults": self.faults,
            "lowest_losses": self.guard.lowest,
            **self.stopping.state(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Resume from ``state``. Raises ValueError when it comes from other clips or another teacher."""
        mine = {**self.description, "global_batch_size": self.plan.global_batch_size}
        check_resumable(state, mine, world_size=self.world.size)
        for name, module in self._learned().items():
            module.load_state_dict(state[name])
        for name, optimizer in self._optimizers().items():
            load_moments(optimizer, state[name])
        if state["scaler"]:  # empty if the run was not fp16 before
            self.precision.scaler.load_state_dict(state["scaler"])
        self.stopping.load_state(state)
        self.num_steps, self.best = state["num_steps"], dict(state["best"])
        self.faults = sum_counts([state["faults"]] if "faults" in state else [])  # the first checkpoints had none
        self.means = RunningMeans.restored(state.get("unlogged_means"), self.world)
        if state.get("config", {}).get("loss") == self.description.get("config", {}).get("loss"):
            self.guard.lowest = dict(state.get("lowest_losses", {}))

    def _learned(self) -> dict[str, nn.Module]:
        """Modules with weights to save, by name in a checkpoint. The run's student is the average, if there is one."""
        learned = self.trainable.networks | {"loss": self.trainable.loss}
        if self.average is not None:
            learned |= {"student": self.average.network, "student_in_training": self.trainable.student}
        return learned

    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        names = ("optimizer", "teacher_optimizer")[: len(self.learners)]
        return {name: learner.optimizer for name, learner in zip(names, self.learners, strict=True)}
