from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from dali_pipes.augmentation import augmenter as augmenter_module
from dali_pipes.augmentation.augmenter import apply_plans, make_augmenter, working_bytes
from dali_pipes.augmentation.plan import Step, plan_augmentation, rand_augment_step
from dali_pipes.augmentation_config import RAND_AUGMENT_OPS
from dali_pipes.config import DataConfig
from tests.dali_pipes.augmentation.test_color import smooth_clips

ALL = {
    "rand_augment": {"num_ops": 3},
    "color_jitter": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1},
    "random_erasing": {"probability": 0.5},
}


def config_of(augmentation: Any = None, **views: Any) -> DataConfig:
    settings = {"teacher": {"size": (48, 64)}, "student": {"size": (24, 32)}, **views}
    return DataConfig.model_validate(
        {"root": "data", "train": "folders", "views": settings, "augmentation": augmentation or ALL}
    )


def both_views(num_clips: int) -> dict[str, Tensor]:
    teacher = smooth_clips(num_clips * 4, 48, 64).view(num_clips, 4, 48, 64, 3)
    return {"teacher": teacher, "student": shrunk(teacher)}


def shrunk(frames_nTHWC: Tensor) -> Tensor:
    """By 2, as the loader's bilinear resize does."""
    n, num_frames, height, width, _ = frames_nTHWC.shape
    planes = frames_nTHWC.view(-1, height, width, 3).permute(0, 3, 1, 2).float()
    small = avg_pool2d(planes, 2).round().to(torch.uint8).permute(0, 2, 3, 1)
    return small.reshape(n, num_frames, height // 2, width // 2, 3).contiguous()


def augmented(views: dict[str, Tensor], positions: range, config: DataConfig | None = None) -> dict[str, Tensor]:
    augmenter = make_augmenter(config or config_of(), seed=5)
    assert augmenter is not None
    return augmenter(views, positions=list(positions), attempts=[0] * len(positions))


def test_off_there_is_no_augmenter_and_no_memory() -> None:
    config = DataConfig.model_validate(config_of().model_dump() | {"augmentation": {}})
    assert make_augmenter(config, seed=0) is None and working_bytes(config, num_clips=8) == 0
    assert working_bytes(config_of(), num_clips=8) > 8 * 8 * (48 * 64 + 24 * 32) * 3


@pytest.mark.parametrize("values_at_once", [1, 2**22])
def test_a_clip_depends_neither_on_its_batch_nor_on_the_threads(
    values_at_once: int, monkeypatch: pytest.MonkeyPatch, threads: None
) -> None:
    views = both_views(12)
    together = augmented(views, range(12))
    monkeypatch.setattr(augmenter_module, "_VALUES_AT_ONCE", {"cpu": values_at_once})
    torch.set_num_threads(2)
    for start, stop in ((0, 1), (1, 5), (5, 12)):
        part = augmented({name: view[start:stop] for name, view in views.items()}, range(start, stop))
        for name, view in part.items():
            assert torch.equal(view, together[name][start:stop])


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_the_given_views_stay_and_most_clips_change() -> None:
    views = both_views(8)
    kept = {name: view.clone() for name, view in views.items()}
    found = augmented(views, range(8))
    for name, view in views.items():
        assert torch.equal(view, kept[name])
        assert found[name].is_contiguous() and found[name].shape == view.shape and found[name].dtype == torch.uint8
        assert (found[name] != view).flatten(1).any(1).sum() >= 7


def test_a_batch_without_a_step_is_passed_on_without_a_copy() -> None:
    views = both_views(2)
    config = config_of({"color_jitter": {"hue": 0.5, "probability": 0.0}})
    assert augmented(views, range(2), config)["teacher"] is views["teacher"]


def test_a_student_sees_the_same_with_and_without_its_teacher() -> None:
    views = both_views(8)
    beside = augmented(views, range(8))["student"]
    assert torch.equal(augmented({"student": views["student"]}, range(8))["student"], beside)
    # Also the steps that measure something.
    for kind, values in (("contrast", (1.9,)), ("auto_contrast", ()), ("equalize", ())):
        plans = [(Step(kind, values),)] * 8  # type: ignore[arg-type]
        alone = apply_plans({"student": views["student"]}, plans)["student"]
        assert torch.equal(apply_plans(views, plans)["student"], alone)


# Mean difference, in levels, of the shrunk augmented teacher's view from the augmented student's view.
_LIMITS = {"posterize": 6.0, "solarize": 4.0, "equalize": 2.0, "sharpness": 2.5}


@pytest.mark.parametrize("name", [*RAND_AUGMENT_OPS[1:], "hue", "erase_color", "erase_noise"])
def test_both_views_show_the_same(name: Any) -> None:
    teacher = both_views(3)["teacher"] // 4 * 3 + 20  # auto_contrast has something to stretch
    views = {"teacher": teacher, "student": shrunk(teacher)}
    if name in RAND_AUGMENT_OPS:
        step = rand_augment_step(name, 0.9, 1, 64 / 48, 128)
    elif name == "hue":
        step = Step("hue", (0.2,))
    else:
        step = Step(name, (0.25, 0.125, 0.5, 0.5, *((9, 200, 40) if name == "erase_color" else (77, 24, 32))))
    found = apply_plans(views, [(step,)] * 3)
    difference = (shrunk(found["teacher"]).float() - found["student"].float()).abs().mean()
    change = (found["student"].float() - views["student"].float()).abs().mean()
    assert difference < _LIMITS.get(name, 1.0) and change > 1
    if name.startswith("erase"):
        assert difference == 0


def test_the_student_s_view_may_be_as_large_as_the_teacher_s() -> None:
    """upsample_to_teacher: the cells of the noise are those of the size that it was shrunk to."""
    config = config_of(
        {"random_erasing": {"probability": 1.0}}, student={"size": (24, 32), "upsample_to_teacher": True}
    )
    teacher = smooth_clips(4, 48, 64)
    small = shrunk(teacher).flatten(0, 1).permute(0, 3, 1, 2).float()
    student = interpolate(small, size=(48, 64)).to(torch.uint8).permute(0, 2, 3, 1)[:, None].contiguous()
    found = augmented({"teacher": teacher, "student": student}, range(4), config)
    for clip in range(4):
        (step,) = plan_augmentation(
            config.augmentation, make_augmenter(config, seed=5)._shape, seed=5, position=clip, attempt=0
        )
        assert step.values[5:] == (24, 32)
        erased = (found["teacher"][clip] != teacher[clip]).all(-1) & (found["student"][clip] != student[clip]).all(-1)
        assert erased.any()
        assert torch.equal(found["teacher"][clip][erased], found["student"][clip][erased])


def test_clips_of_one_batch_may_have_any_number_of_steps() -> None:
    views = both_views(3)
    plans = [(), (Step("solarize", (0.0,)), Step("solarize", (0.0,))), (Step("posterize", (4.0,)),)]
    found = apply_plans(views, plans)
    for name, view in views.items():
        assert torch.equal(found[name][:2], view[:2])
        assert torch.equal(found[name][2], view[2] & 0xF0)
