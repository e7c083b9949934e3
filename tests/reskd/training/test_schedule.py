import math

import pytest

from reskd.training.schedule import ScheduleConfig, lr_factor

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
