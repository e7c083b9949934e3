from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from dali_pipes.annotations.lists import LabeledVideo
from dali_pipes.config import DataConfig
from dali_pipes.manifest.build import build_manifests
from dali_pipes.manifest.pattern_split import check_matches, split_by_pattern
from dali_pipes.manifest.splits import videos_of_splits
from tests.conftest import numbered_clip

VIEWS = {"student": {"size": 16, "source": "decoded"}}


def _config(root: Path, **changes: Any) -> DataConfig:
    return DataConfig.model_validate({"root": root, "train": "train.csv", "views": VIEWS, **changes})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Ten videos: run_g1 to run_g4 of one class, jump_g1 to jump_g6 of the other."""
    names = [*(f"run_g{n}" for n in range(1, 5)), *(f"jump_g{n}" for n in range(1, 7))]
    for frames, name in enumerate(names, start=3):
        numbered_clip(tmp_path / f"{name}.mp4", "libx264", frames)
    (tmp_path / "train.csv").write_text("path,label\n" + "".join(f"{n}.mp4,{n.split('_')[0]}\n" for n in names))
    return tmp_path


def _split(config: DataConfig) -> dict[str, list[str]]:
    _, videos = videos_of_splits(config, 0, ("train", "val"), lambda message: None)
    return {name: [video.path for video in found] for name, found in videos.items()}


def _paths(config: DataConfig, split: str, said: list[str] | None = None) -> list[str]:
    manifest = build_manifests(config, seed=0, on_message=(said if said is not None else []).append)[split]
    return [manifest.path(number) for number in range(len(manifest))]


def test_the_videos_that_match_are_the_validation_split(root: Path) -> None:
    found = _split(_config(root, val_pattern="_g(3|4)"))
    assert found["val"] == ["run_g3.mp4", "run_g4.mp4", "jump_g3.mp4", "jump_g4.mp4"]
    assert found["train"] == ["run_g1.mp4", "run_g2.mp4", "jump_g1.mp4", "jump_g2.mp4", "jump_g5.mp4", "jump_g6.mp4"]


def test_manifests_kept_for_one_pattern_serve_no_other(root: Path) -> None:
    assert _paths(_config(root, val_pattern="_g1"), "val") == ["run_g1.mp4", "jump_g1.mp4"]
    assert _paths(_config(root, val_pattern="_g2"), "val") == ["run_g2.mp4", "jump_g2.mp4"]
    said: list[str] = []
    assert _paths(_config(root, val_pattern="_g1"), "val", said) == ["run_g1.mp4", "jump_g1.mp4"]
    assert (
        "val: 2 of 10 videos (20 %, by data.val_pattern) in 2 groups; from 16.7 % (jump) to 25 % (run) of a class"
        in said
    )


def test_the_test_split_is_held_out_of_the_other_videos(root: Path) -> None:
    config = _config(root, val_pattern="_g1", test_fraction=0.3)
    _, videos = videos_of_splits(config, 0, ("train", "val", "test"), lambda message: None)
    assert [video.path for video in videos["val"]] == ["run_g1.mp4", "jump_g1.mp4"]
    rest = sorted(video.path for name in ("train", "test") for video in videos[name])
    assert len(rest) == 8 and not any("_g1" in path for path in rest) and videos["test"]


def test_a_fraction_beside_the_pattern_is_refused_and_resolved_settings_are_read_again(root: Path) -> None:
    with pytest.raises(ValueError, match=r"expected at most one of them, found val_fraction = 0\.1 too; leave it out"):
        _config(root, val_pattern="_g1", val_fraction=0.1)
    config = _config(root, val_pattern="_g1")
    assert config.val_fraction == 0 and _config(root).val_fraction == 0.1
    assert DataConfig.model_validate(config.model_dump(mode="json")) == config
    assert _config(root, val_pattern="_g1", val_fraction=0) == config


def test_a_pattern_that_is_no_regular_expression_is_refused(root: Path) -> None:
    with pytest.raises(ValueError, match=r"expected a regular expression, found '_g\('"):
        _config(root, val_pattern="_g(")


@pytest.mark.parametrize(("pattern", "found"), [("_g9", "none"), (r"\.mp4$", "all")])
def test_a_pattern_that_leaves_one_side_empty_is_refused(pattern: str, found: str) -> None:
    with pytest.raises(ValueError, match=rf"some of the 2 videos of the training list, found it in {found}, such as a"):
        check_matches(["a.mp4", "b.mp4"], pattern)


def test_a_group_on_both_sides_is_refused_by_its_name(root: Path) -> None:
    config = _config(root, val_pattern="run_g1", group_pattern=r"_(g\d)")
    expected = r"found group 'g1' on both: run_g1\.mp4 matches, jump_g1\.mp4 does not; change it or the groups\."
    with pytest.raises(ValueError, match=expected):
        _split(config)


def test_copies_on_both_sides_are_refused_unless_allowed(root: Path) -> None:
    shutil.copy(root / "run_g1.mp4", root / "run_g2.mp4")
    config = _config(root, val_pattern="_g1")
    with pytest.raises(ValueError, match=r"run_g1\.mp4 matches, run_g2\.mp4 does not.*set data.allow_shared_videos=tr"):
        _split(config)
    allowed = config.model_copy(update={"allow_shared_videos": True})
    assert _split(allowed)["val"] == ["run_g1.mp4", "jump_g1.mp4"]


def test_classes_on_one_side_only_are_named() -> None:
    videos = [LabeledVideo(path, (label,), path) for path, label in (("v/0", 0), ("t/1", 1), ("v/2", 2), ("t/2", 2))]
    said: list[str] = []
    others, matching = split_by_pattern(videos, "^v", class_names=("run", "jump", "swim"), on_message=said.append)
    assert [video.path for video in matching] == ["v/0", "v/2"] and [v.path for v in others] == ["t/1", "t/2"]
    assert said == [
        "data.val_pattern matches no video of these classes: jump",
        "data.val_pattern leaves no video to train on of these classes: run",
        "val: 2 of 4 videos (50 %, by data.val_pattern) in 2 groups; from 0 % (jump) to 100 % (run) of a class",
    ]
