"""The shipped configs of the ResKD paper's tables: what their head comments promise is what they are."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from reskd.experiment.config import ExperimentConfig, load_config
from reskd.experiment.networks import view_shapes
from reskd.models.config import RecognizerConfig
from reskd.profiling.flops import MacCount, count_recognizer

CONFIGS = {path.stem: path for path in sorted(Path("configs/paper").glob("[!_]*.yaml"))}
HEADS = {
    name: "".join(line for line in path.read_text().splitlines(keepends=True) if line.startswith("#"))
    for name, path in CONFIGS.items()
}
PRINTED = {
    name: float(found[1])
    for name, head in HEADS.items()
    if (found := re.search(r"at\s(?:# )?([\d.]+) (?:# )?GFLOPs", head.replace("\n", " ")))
}
OF_THE_PAPER = list(CONFIGS)
HEADLINE = "activitynet_resnet152-224_resnet50-112"


@cache
def _config(name: str) -> ExperimentConfig:
    return load_config(CONFIGS[name])


def _gflops(config: ExperimentConfig) -> float:
    sampling = config.data.sampling
    # Neither weights nor widths of views but their shapes change the count.
    settings = config.student.model_copy(update={"weights": "none", "weights_head": "auto"})
    return _count(settings, view_shapes(config)["student"], sampling.test_clips * sampling.test_crops).published / 1e9


@cache
def _count(settings: RecognizerConfig, shape: tuple[int, int, int], views: int) -> MacCount:
    return count_recognizer(settings, shape, num_classes=200, num_test_views=views)


def test_every_row_of_tables_1_to_3_is_a_config_with_its_number() -> None:
    assert {name: PRINTED[name] for name in OF_THE_PAPER} == {
        "activitynet_resnet152-224": 185,
        "activitynet_resnet50-112": 17.4,
        "activitynet_resnet50-224": 65.9,
        "activitynet_resnet152-112": 47.2,
        "activitynet_resnet50-224_resnet50-112": 17.4,
        "activitynet_resnet152-112_resnet50-112": 17.4,
        "activitynet_resnet152-224_resnet50-112": 17.4,
        "fcvid_resnet152-224": 185,
        "fcvid_resnet50-112": 17.4,
        "fcvid_resnet152-224_resnet50-112": 17.4,
        "minikinetics_resnet152-224": 92.6,
        "minikinetics_resnet50-112": 8.7,
        "minikinetics_resnet152-224_resnet50-112": 8.7,
        "ssv2_tsm-resnet50-224": 32.7,
        "ssv2_tsm-resnet50-112": 8.7,
        "ssv2_tsm-resnet50-224_tsm-resnet50-112": 8.7,
        "kinetics400_slowonly-resnet50-224": 1260,
        "kinetics400_slowonly-resnet50-112": 332,
        "kinetics400_slowonly-resnet50-224_slowonly-resnet50-112": 332,
        "kinetics400_swin3d_s-224": 1639,
        "kinetics400_swin3d_s-112": 421,
        "kinetics400_swin3d_b-224_swin3d_s-112": 421,
    }


@pytest.mark.parametrize("name", OF_THE_PAPER)
def test_the_printed_gflops_are_the_models(name: str) -> None:
    assert _gflops(_config(name)) == pytest.approx(PRINTED[name], rel=0.01)


def test_table_4_is_the_headline_at_other_sizes() -> None:
    rows = re.findall(r"(\d+): ([\d.]+), ([\d.]+)", HEADS[HEADLINE])
    assert [int(size) for size, _, _ in rows] == [224, 144, 112, 96, 72, 56]
    for size, _, gflops in rows:
        config = load_config(CONFIGS[HEADLINE], [f"data.views.student.size={size}", f"name=table4_{size}"])
        assert _gflops(config) == pytest.approx(float(gflops), rel=0.01)


@pytest.mark.parametrize("name", OF_THE_PAPER)
def test_each_family_is_tested_by_its_protocol(name: str) -> None:
    """Clips, crops, frames and their distance (None: one a segment) of the paper, by family."""
    config, sampling = _config(name), _config(name).data.sampling
    frames = 16 if name.startswith(("activitynet", "fcvid")) else 8
    expected = {
        "tsn": (1, 1, frames, None),
        "tsm": (1, 1, 8, None),
        "slow_only": (10, 3, 8, 8),
        "swin": (4, 3, 32, 2),
    }[config.student.family]
    stride = sampling.frames.stride if sampling.frames.kind == "dense" else None
    assert (sampling.test_clips, sampling.test_crops, sampling.num_frames, stride) == expected
    assert sampling.frames.kind in ("segments", "dense")
    assert (sampling.val_clips, sampling.val_crops, sampling.test_crop_ratio) == (1, 1, 224 / 256)
    assert sampling.average_views == "probabilities"
    if name.startswith("ssv2"):
        assert sampling.flip_probability == 0


@pytest.mark.parametrize("student", [name for name in OF_THE_PAPER if _config(name).teacher])
def test_a_baseline_is_the_student_without_its_teacher(student: str) -> None:
    data_set, _, own = student.partition("_")
    baseline = f"{data_set}_{re.split('-(?:224|112)_', own, maxsplit=1)[1]}"
    mine, other = _config(student).resolved(), _config(baseline).resolved()
    assert mine["teacher"] is not None
    assert other["teacher"] is None
    differing = {key for key in mine if mine[key] != other[key]}
    assert differing == {"name", "teacher", "loss"}
    assert {key for key in mine["loss"] if mine["loss"][key] != other["loss"][key]} <= {"pixel", "logit_map"}


@pytest.mark.parametrize("name", OF_THE_PAPER)
def test_the_changes_that_a_head_comment_names_can_be_made(name: str) -> None:
    given = r"name=\S+(?:[ \n#]+[a-z_]+\.[\w.]+=(?:\[\S+\]|[^\s,;]+))*"
    blocks = re.findall(given, HEADS[name].replace("name=...", ""))
    for block in blocks:
        overrides = re.findall(r"[a-z_.]+=(?:\[\S+\]|[^\s,;]+)", block)
        assert load_config(CONFIGS[name], overrides).name != name
    if re.search("baseline", HEADS[name]):
        assert any("data.views.student.source=decoded" in block for block in blocks), "the paper's own protocol"


@pytest.mark.parametrize("name", [name for name in OF_THE_PAPER if _config(name).teacher])
def test_a_student_is_tested_by_either_of_the_papers_paths(name: str) -> None:
    assert _config(name).data.views.student.source == "teacher_view"
    assert "data.views.student.source=decoded" in HEADS[name]
    other = load_config(CONFIGS[name], ["data.views.student.source=decoded"])
    assert other.data.views.student.source == "decoded"


def test_the_table_of_recipes_names_every_config_and_no_other() -> None:
    rows = re.findall(r"^\| [1-6] \|.*$", Path("docs/models.md").read_text(), re.MULTILINE)
    assert {row[2] for row in rows} == set("123456")
    named = {name for row in rows for name in re.findall(r"`(\w+_[\w-]+)`", row)}
    assert named == set(CONFIGS)
