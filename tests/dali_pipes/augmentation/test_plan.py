from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest

from dali_pipes.augmentation.plan import Shape, Step, plan_augmentation, rand_augment_step
from dali_pipes.augmentation_config import RAND_AUGMENT_OPS, AugmentationConfig

SQUARE = Shape(1.0, (16, 16))


def plans(count: int, *, shape: Shape = SQUARE, seed: int = 0, attempt: int = 0, **recipes: Any) -> list[list[Step]]:
    config = AugmentationConfig.model_validate(recipes)
    return [
        list(plan_augmentation(config, shape, seed=seed, position=position, attempt=attempt))
        for position in range(count)
    ]


def test_a_plan_is_a_function_of_seed_position_and_attempt_alone() -> None:
    recipes = {"rand_augment": {}, "color_jitter": {"brightness": 0.4}, "random_erasing": {"probability": 1.0}}
    first = plans(50, **recipes)
    assert plans(50, **recipes) == first
    assert plans(50, seed=1, **recipes) != first and plans(50, attempt=1, **recipes) != first
    assert len({repr(plan) for plan in first}) == 50


def test_a_recipe_draws_the_same_beside_others() -> None:
    alone = plans(20, color_jitter={"hue": 0.1, "contrast": 0.2})
    beside = plans(20, color_jitter={"hue": 0.1, "contrast": 0.2}, rand_augment={"num_ops": 1}, random_erasing={})
    for one, other in zip(alone, beside, strict=True):
        assert [step for step in other if step in one] == one


def test_recipes_follow_one_another() -> None:
    recipes = {"rand_augment": {"num_ops": 1, "ops": ["posterize"]}, "color_jitter": {"hue": 0.1}}
    (plan,) = plans(1, **recipes, random_erasing={"probability": 1.0})
    assert [step.kind for step in plan] == ["posterize", "hue", "erase_noise"]


def test_all_operations_are_drawn_equally_often() -> None:
    found = Counter(step.kind for plan in plans(7000, rand_augment={"num_ops": 2}) for step in plan)
    expected = 14000 / len(RAND_AUGMENT_OPS)
    assert found.pop("affine") == pytest.approx(5 * expected, rel=0.05)
    assert set(found) == {
        *("brightness", "contrast", "saturation", "sharpness", "auto_contrast", "equalize", "posterize", "solarize")
    }
    assert list(found.values()) == pytest.approx([expected] * 8, rel=0.12)


@pytest.mark.parametrize("probability", [0.0, 0.5, 1.0])
def test_probabilities_are_kept(probability: float) -> None:
    jittered = plans(2000, color_jitter={"brightness": 0.1, "probability": probability})
    assert np.mean([len(plan) for plan in jittered]) == pytest.approx(probability, abs=0.03)
    ops = plans(2000, rand_augment={"num_ops": 4, "ops": ["rotate"], "probability": probability})
    assert np.mean([len(plan) for plan in ops]) == pytest.approx(4 * probability, abs=0.06)
    erased = plans(2000, random_erasing={"probability": max(probability, 0.01)})
    assert np.mean([len(plan) for plan in erased]) == pytest.approx(probability, abs=0.03)


def test_jitter_draws_in_its_ranges_and_in_random_order() -> None:
    found = plans(3000, color_jitter={"brightness": 0.4, "contrast": 2.0, "saturation": 0.1, "hue": 0.2})
    assert len({tuple(step.kind for step in plan) for plan in found}) == math.factorial(4)
    ranges = {"brightness": (0.6, 1.4), "contrast": (0.0, 3.0), "saturation": (0.9, 1.1), "hue": (-0.2, 0.2)}
    for kind, (low, high) in ranges.items():
        drawn = [step.values[0] for plan in found for step in plan if step.kind == kind]
        assert len(drawn) == 3000 and low <= min(drawn) and max(drawn) < high
        assert np.mean(drawn) == pytest.approx((low + high) / 2, abs=0.03 * (high - low))
    (plan,) = plans(1, color_jitter={"contrast": 0.5})
    assert [step.kind for step in plan] == ["contrast"]


def test_the_strongest_operations_are_those_of_the_paper() -> None:
    def values(name: Any, strength: float = 1.0, sign: int = 1, aspect: float = 1.0) -> tuple[float, ...]:
        return rand_augment_step(name, strength, sign, aspect, 128).values

    assert values("rotate")[:2] == pytest.approx((math.cos(math.pi / 6), -math.sin(math.pi / 6)))
    assert values("shear_x")[1] == pytest.approx(0.3) and values("shear_y")[3] == pytest.approx(0.3)
    # A relative x of 2 is the whole width.
    assert values("translate_x")[2] / 2 == pytest.approx(150 / 331) == values("translate_y")[5] / 2
    assert (values("posterize"), values("solarize")) == ((4.0,), (0.0,))
    assert [values("posterize", m)[0] for m in (0.0, 0.3, 0.9)] == [8, 7, 4]
    for name in ("color", "contrast", "brightness", "sharpness"):
        assert values(name) == pytest.approx((1.9,)) and values(name, sign=-1) == pytest.approx((0.1,))
        assert values(name, 0.0) == (1.0,)
    assert values("rotate")[6] == 128


def test_both_directions_and_a_spread_magnitude_are_drawn() -> None:
    fixed = [
        step.values[0] for plan in plans(1000, rand_augment={"num_ops": 1, "ops": ["brightness"]}) for step in plan
    ]
    assert {round(value, 6) for value in fixed} == {1.81, 0.19}
    assert np.mean(np.array(fixed) > 1) == pytest.approx(0.5, abs=0.05)
    settings = {"num_ops": 1, "ops": ["brightness"], "magnitude": 7.0, "magnitude_std": 0.5}
    spread = [abs(step.values[0] - 1) / 0.09 for plan in plans(4000, rand_augment=settings) for step in plan]
    assert np.mean(spread) == pytest.approx(7, abs=0.05) and np.std(spread) == pytest.approx(0.5, rel=0.05)
    wild = plans(500, rand_augment={**settings, "magnitude_std": 10.0})
    assert all(0.1 - 1e-9 <= step.values[0] <= 1.9 + 1e-9 for plan in wild for step in plan)


@pytest.mark.parametrize("aspect", [1.0, 16 / 9, 0.5])
def test_rectangles_have_the_area_and_the_shape_on_the_screen_that_were_asked_for(aspect: float) -> None:
    settings = {"probability": 1.0, "area": [0.1, 0.2], "aspect_ratio": [0.5, 3.0]}
    found = [plan[0].values[:4] for plan in plans(2000, shape=Shape(aspect, (8, 8)), random_erasing=settings)]
    y, x, height, width = np.array(found).T
    assert (height * width >= 0.1 - 1e-9).all() and (height * width <= 0.2 + 1e-9).all()
    shapes = width * aspect / height
    assert shapes.min() >= 0.5 - 1e-9 and shapes.max() <= 3 + 1e-9 and shapes.max() > 2.5 and shapes.min() < 0.6
    assert y.min() >= 0 and x.min() >= 0 and (y + height).max() <= 1 and (x + width).max() <= 1
    assert np.mean(y / (1 - height)) == pytest.approx(0.5, abs=0.03)


def test_a_rectangle_that_never_fits_is_cut() -> None:
    settings = {"probability": 1.0, "area": [0.9, 1.0], "aspect_ratio": [8.0, 9.0]}
    for plan in plans(20, random_erasing=settings):
        y, x, height, width = plan[0].values[:4]
        assert (x, width) == (0, 1) and 0.3 < height < 0.36 and 0 <= y <= 1 - height


def test_fills() -> None:
    colors = [plan[0] for plan in plans(300, random_erasing={"probability": 1.0, "fill": "random_color"})]
    assert {step.kind for step in colors} == {"erase_color"}
    levels = np.array([step.values[4:] for step in colors])
    assert levels.min() >= 0 and levels.max() <= 255 and (levels == levels.round()).all() and levels.std() > 60
    assert plans(1, random_erasing={"probability": 1.0, "fill": 7})[0][0].values[4:] == (7, 7, 7)
    noise = [plan[0] for plan in plans(300, shape=Shape(2.0, (12, 24)), random_erasing={"probability": 1.0})]
    assert {step.values[5:] for step in noise} == {(12, 24)}
    assert len({step.values[4] for step in noise}) == 300
