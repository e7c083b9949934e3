import math

import pytest

from reskd.training.plan import Plan, TrainingConfig
from reskd.training.schedule import ScheduleConfig, factor_at, lr_factor

COSINE = ScheduleConfig(kind="cosine", warmup_epochs=1, warmup_start_factor=0.1, final_factor=0.0)
EXPONENTIAL = ScheduleConfig(kind="exponential", gamma=0.95)
STEP = ScheduleConfig(kind="step", milestones=(2, 4), gamma=0.1)


@pytest.mark.parametrize(
    ("config", "step", "factor"),
    [
        (COSINE, 0, 0.1),
        (COSINE, 5, 0.55),  # halfway up
        (COSINE, 10, 1.0),
        (COSINE, 55, 0.5),  # halfway down from step 10 to 100
        (COSINE, 100, 0.0),
        (STEP, 19, 1.0),
        (STEP, 20, 0.1),
        (STEP, 40, 0.01),
        (EXPONENTIAL, 9, 1.0),
        (EXPONENTIAL, 29, 0.9025),
        (ScheduleConfig(kind="constant"), 99, 1.0),
        (ScheduleConfig(kind="cosine", final_factor=0.2), 100, 0.2),
    ],
)
def test_the_factor_at_a_step(config: ScheduleConfig, step: int, factor: float) -> None:
    assert lr_factor(config, step=step, total_steps=100, steps_per_epoch=10) == pytest.approx(factor, abs=1e-12)


def test_cosine_by_epoch_is_mmcvs() -> None:
    """mmcv 1.x: CosineAnnealing over all epochs, times the linear warm-up 1 - (1 - step / warmup) * (1 - 0.1)."""
    config = ScheduleConfig(kind="cosine", cosine_by="epoch", warmup_epochs=2.5, warmup_start_factor=0.1)
    for step in range(100):
        epoch = step // 10
        regular = 0.5 * (1 + math.cos(math.pi * epoch / 10))
        warmup = 1 - (1 - step / 25) * 0.9 if step < 25 else 1.0
        found = lr_factor(config, step=step, total_steps=100, steps_per_epoch=10)
        assert found == pytest.approx(regular * warmup, abs=1e-12)


def test_a_drop_comes_with_the_step_that_ends_its_epoch() -> None:
    """Of 9 clips in batches of 7, step 9 ends the seventh epoch; 9 / (9 / 7) is below 7 in floating point."""
    plan = Plan(num_clips=9, global_batch_size=7, clips_per_pass=7, world_size=1, total_steps=100)
    assert factor_at(EXPONENTIAL, plan, 9) == 0.95**7 and factor_at(EXPONENTIAL, plan, 8) == 0.95**6
    plan = Plan(num_clips=25, global_batch_size=11, clips_per_pass=11, world_size=1, total_steps=100)
    milestone = ScheduleConfig(kind="step", milestones=(11,), gamma=0.1)
    assert [factor_at(milestone, plan, step) for step in (24, 25)] == [1.0, 0.1]


def test_the_steps_of_a_part_of_an_epoch_are_counted_exactly() -> None:
    """0.29 * 100 is below 29 in floating point."""
    for epochs, batch, steps in ((2.3, 10, 23), (0.29, 1, 29), (1e-3, 10, 1)):
        config = TrainingConfig(epochs=epochs, global_batch_size=batch)
        assert Plan.make(config, num_clips=100, clips_per_pass=batch, world_size=1).total_steps == steps
