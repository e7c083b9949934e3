from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from reskd.experiment.config import load_config
from reskd.experiment.config_files import merge, merge_files, read_config_files
from reskd.experiment.stages import load_stages
from tests.reskd.experiment.test_config import tree


def write(path: Path, **settings: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(settings))
    return path


@pytest.fixture
def common(tmp_path: Path) -> Path:
    """A base that is a whole experiment."""
    return write(tmp_path / "_common.yaml", **tree(name="common"))


@pytest.mark.parametrize(
    ("below", "above", "merged"),
    [
        ({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}}, {"a": {"b": 1, "c": 3}}),
        ({"a": {"b": 1, "c": 2}, "d": 4}, {"a": {"b": None}, "d": None}, {"a": {"c": 2}}),
        ({"a": {"kind": "x", "of_x": 1}}, {"a": {"kind": "y", "of_y": 2}}, {"a": {"kind": "y", "of_y": 2}}),
        ({"a": {"family": "x", "b": 1}}, {"a": {"family": "x", "c": 2}}, {"a": {"family": "x", "b": 1, "c": 2}}),
        ({"a": [1, 2, 3]}, {"a": [4]}, {"a": [4]}),
        ({"a": 1}, {"a": {"b": 2}}, {"a": {"b": 2}}),
        ({"a": {"b": 2}}, {"a": 1}, {"a": 1}),
    ],
)
def test_groups_are_merged_and_all_else_is_replaced(below: Any, above: Any, merged: Any) -> None:
    before = yaml.safe_dump([below, above])
    assert merge(below, above) == merged
    assert yaml.safe_dump([below, above]) == before


def test_a_file_is_merged_over_its_base_and_the_base_of_that(tmp_path: Path, common: Path) -> None:
    write(tmp_path / "middle.yaml", base="_common.yaml", name="middle", seed=7, optimizer={"lr": 0.5, "momentum": 0.8})
    leaf = write(tmp_path / "leaf.yaml", base="middle.yaml", name="leaf", optimizer={"lr": 0.25})
    config = load_config(leaf)
    assert (config.name, config.seed) == ("leaf", 7)
    assert (config.optimizer.lr, config.optimizer.momentum) == (0.25, 0.8)
    assert config.student == load_config(common).student
    assert [file.path.name for file in read_config_files(leaf)] == ["leaf.yaml", "middle.yaml", "_common.yaml"]


def test_what_a_run_saves_names_no_base(tmp_path: Path, common: Path) -> None:
    leaf = write(tmp_path / "leaf.yaml", base="_common.yaml", name="leaf")
    resolved = load_config(leaf).resolved()
    assert "base" not in resolved
    assert resolved == load_config(common).resolved() | {"name": "leaf"}


def test_null_removes_what_the_base_sets_and_stays_null_without_a_base(tmp_path: Path, common: Path) -> None:
    plain = write(tmp_path / "plain.yaml", base="_common.yaml", teacher=None, loss={"pixel": None})
    assert load_config(plain).teacher is None
    assert load_config(plain).loss.distillation_terms == ()
    assert merge_files(read_config_files(write(tmp_path / "null.yaml", teacher=None))) == {"teacher": None}


def test_a_base_is_found_from_the_file_that_names_it(
    tmp_path: Path, common: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaf = write(tmp_path / "there" / "deeper" / "leaf.yaml", base="../middle.yaml", name="leaf")
    write(tmp_path / "there" / "middle.yaml", base="../_common.yaml", seed=7)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load_config("../there/deeper/leaf.yaml") == load_config(leaf)
    assert load_config(leaf).seed == 7
    absolute = write(tmp_path / "absolute.yaml", base=str(common), name="absolute")
    assert load_config(absolute).name == "absolute"


def test_overrides_win_over_the_file_and_its_base(tmp_path: Path, common: Path) -> None:
    leaf = write(tmp_path / "leaf.yaml", base="_common.yaml", seed=7)
    config = load_config(leaf, ["optimizer.lr=0.5", "seed=8", "training.clip_norm=null"])
    assert (config.optimizer.lr, config.seed, config.training.clip_norm) == (0.5, 8, None)


@pytest.mark.parametrize("common_has_stages", [False, True])
def test_stages_of_the_file_replace_those_of_its_base(tmp_path: Path, *, common_has_stages: bool) -> None:
    teacher = {"name": "teacher", "teacher": None, "loss": {"pixel": None}}
    stages = [teacher | {"seed": 3}, {"name": "student", "loss": {"pixel": {"alpha": 1}}}]
    settings = tree() | ({"stages": [teacher | {"name": "other"}]} if common_has_stages else {})
    write(tmp_path / "_common.yaml", **settings)
    leaf = write(tmp_path / "leaf.yaml", base="_common.yaml", name="leaf", stages=stages)
    first, second = load_stages(leaf, ["optimizer.lr=0.5", "stages.student.seed=9"])
    assert (first.name, first.seed, first.optimizer.lr, first.teacher) == ("leaf.teacher", 3, 0.5, None)
    assert (second.name, second.seed, second.optimizer.lr) == ("leaf.student", 9, 0.5)
    assert second.loss.weights["pixel"] == 1


def test_stages_may_stand_in_the_base_and_be_taken_away(tmp_path: Path) -> None:
    write(tmp_path / "_common.yaml", **tree(), stages=[{"name": "a"}, {"name": "b", "seed": 2}])
    leaf = write(tmp_path / "leaf.yaml", base="_common.yaml", name="leaf", seed=7)
    assert [(config.name, config.seed) for config in load_stages(leaf)] == [("leaf.a", 7), ("leaf.b", 2)]
    alone = write(tmp_path / "alone.yaml", base="_common.yaml", name="alone", stages=None)
    assert [config.name for config in load_stages(alone)] == ["alone"]
    in_stage = write(tmp_path / "in_stage.yaml", base="_common.yaml", stages=[{"name": "a", "base": "leaf.yaml"}])
    with pytest.raises(ValueError, match="stage a: base must be the same for all; set it in the common part"):
        load_stages(in_stage)


@pytest.mark.parametrize(
    ("base", "message"),
    [
        (
            "_comon.yaml",
            r"leaf.yaml: base: expected a config file at .*/_comon.yaml, found none. Did you mean .*/_c",
        ),
        ("broken.yaml", r"/broken.yaml: expected YAML, found"),
        ("list.yaml", r"/list.yaml: expected keys and values, found list"),
        (["_common.yaml"], r"leaf.yaml: base: expected the path of one config file, found \['_common.yaml'\]"),
        (
            "leaf.yaml",
            r"expected a chain of bases that ends, found a circle: \S*/leaf.yaml -> \S*/leaf.yaml\. Remove",
        ),
        ("circle.yaml", r"found a circle: \S*/leaf.yaml -> \S*/circle.yaml -> \S*/../\S*/leaf.yaml\."),
    ],
)
def test_a_base_that_cannot_be_read_is_an_error(tmp_path: Path, common: Path, base: Any, message: str) -> None:
    (tmp_path / "broken.yaml").write_text("a: [")
    (tmp_path / "list.yaml").write_text("[1, 2]")
    write(tmp_path / "circle.yaml", base=f"../{tmp_path.name}/leaf.yaml")
    leaf = write(tmp_path / "leaf.yaml", base=base, name="leaf")
    for load in (load_config, load_stages):
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            load(leaf)


def without_lines(error: ValueError) -> list[str]:
    """The sentences of an error without their line numbers, each of which must be that of the key's line."""
    for path, number, key in re.findall(
        r"^(\S+), line (\d+).*: (?:unknown key )?([\w.]+)[;:]", str(error), re.MULTILINE
    ):
        assert f"{key.split('.')[-1]}:" in Path(path).read_text().splitlines()[int(number) - 1]
    return re.sub(r", line \d+", "", str(error)).splitlines()


def test_the_line_of_a_fault_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("name: a\noptimizer:\n  lr: true\ndata:\n  views:\n    student: {size: [8, yes_]}\n")
    with pytest.raises(ValueError, match="lr") as error:
        load_config(path)
    assert f"{path}, line 3: optimizer.lr: should be a valid number, found True." in str(error.value)
    assert f"{path}, line 6: data.views.student.size.1: should be a valid integer, found 'yes_'." in str(error.value)


def test_a_fault_is_told_of_the_file_that_has_it(tmp_path: Path) -> None:
    write(tmp_path / "_base.yaml", **tree(seed="many", trainng={}, optimizer={"lr": 0.1, "momentun": 0.9}))
    leaf = write(tmp_path / "leaf.yaml", base="_base.yaml", optimizer={"lrr": 1}, training={"epochs": None})
    with pytest.raises(ValueError, match="unknown key") as error:
        load_config(leaf, ["seed=few"])
    of_base = f"{tmp_path}/_base.yaml, a base of {leaf}: "
    assert sorted(without_lines(error.value)) == sorted(
        [
            f"{leaf}: seed: should be a valid integer, found 'few'.",
            f"{leaf}: unknown key optimizer.lrr; did you mean lr?",
            f"{of_base}unknown key optimizer.momentun; did you mean momentum?",
            f"{leaf}: training.epochs: expected a value, found none; it has no default.",
            f"{of_base}unknown key trainng; did you mean training?",
        ]
    )


def test_a_fault_of_a_stage_is_told_of_the_file_that_has_it(tmp_path: Path) -> None:
    stages = [{"name": "a", "sed": 1}]
    write(tmp_path / "_base.yaml", **tree(stages=stages, optimizer={"lr": 0.1, "momentun": 0.9}))
    leaf = write(tmp_path / "leaf.yaml", base="_base.yaml", trainng={})
    with pytest.raises(ValueError, match="unknown key") as error:
        load_stages(leaf, ["stages.a.student.kernel=3", "nam=x"])
    of_base = f"{tmp_path}/_base.yaml, a base of {leaf}: stage a: "
    hints = [line.partition(";")[0] for line in without_lines(error.value)]
    assert sorted(hints) == sorted(
        [
            f"{leaf}: stage a: unknown key student.kernel",
            f"{leaf}: stage a: unknown key nam",
            f"{leaf}: stage a: unknown key trainng",
            f"{of_base}unknown key sed",
            f"{of_base}unknown key optimizer.momentun",
        ]
    )
    write(tmp_path / "_base.yaml", **tree(stages=[{"name": "no name"}]))
    with pytest.raises(
        ValueError, match=r"_base.yaml, line 15, a base of .*leaf.yaml: stages: expected a name of letters"
    ):
        load_stages(leaf)


def test_a_base_is_no_override(tmp_path: Path, common: Path) -> None:
    with pytest.raises(ValueError, match="unknown key base; only a file can name a base, at its top level; write a f"):
        load_config(common, ["base=other.yaml"])
    write(tmp_path / "stages.yaml", base="_common.yaml", stages=[{"name": "a"}])
    for override in ("base=other.yaml", "stages.a.base=other.yaml"):
        with pytest.raises(ValueError, match="unknown key base; only a file can name a base"):
            load_stages(tmp_path / "stages.yaml", [override])


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("configs/demo_student.yaml", "configs/demo/student.yaml"),
        ("configs/ucf10_teacher_r18-96.yaml", "configs/ucf10/teacher_r18-96.yaml"),
        ("configs/my_videos.yaml", "configs/my/videos.yaml"),
        ("configs/ssv2_tsm-resnet50-112.yaml", "configs/paper/ssv2_tsm-resnet50-112.yaml"),
        ("configs/yt8m_netvlad-30.yaml", "configs/fewer_frames/yt8m_netvlad-30.yaml"),
        ("configs/demo/studnet.yaml", "configs/demo/student.yaml"),
        ("demo/student.yaml", "configs/demo/student.yaml"),
        ("configs/papers/fcvid_resnet50-112.yaml", "configs/paper/fcvid_resnet50-112.yaml"),
    ],
)
def test_a_missing_file_is_answered_with_the_nearest_in_any_folder(asked: str, found: str) -> None:
    with pytest.raises(FileNotFoundError, match=rf"a config file at {asked}, found none. Did you mean {found}\?"):
        load_config(asked)
