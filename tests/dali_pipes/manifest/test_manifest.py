from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dali_pipes.batch import label_sets_of
from dali_pipes.config import DataConfig
from dali_pipes.manifest.build import build_manifests
from dali_pipes.manifest.manifest import Manifest
from tests.conftest import numbered_clip


def _config(root: Path, **changes: Any) -> DataConfig:
    settings = {
        "root": root,
        "train": "folders",
        "val_fraction": 0.0,
        "views": {"student": {"size": 16, "source": "decoded"}},
    }
    return DataConfig(**{**settings, **changes})


@pytest.fixture
def folder(make_folder: Callable[..., Path]) -> Path:
    return make_folder({"jump": ["libx264", "mjpeg", "libx264", "mjpeg"], "run": ["libx264"] * 4}, num_frames=4)


def test_a_saved_manifest_opens_equal_without_reading_it_whole(folder: Path, tmp_path: Path) -> None:
    manifest = build_manifests(_config(folder), seed=0, splits=("train",))["train"]
    manifest.save(tmp_path / "saved")
    again = Manifest.open(tmp_path / "saved")
    assert isinstance(again.rows, np.memmap) and isinstance(again.path_bytes, np.memmap)
    assert [again.row(n) for n in range(len(again))] == [manifest.row(n) for n in range(len(manifest))]
    assert again.content_hash == manifest.content_hash
    assert again.class_names == ("jump", "run") and again.class_counts().tolist() == [4, 4]
    assert again.row(5).path == folder / "run" / "01.mp4" and again.row(5).video_info.codec == "h264"


def test_the_hash_tells_contents_not_places(folder: Path, tmp_path: Path) -> None:
    manifest = build_manifests(_config(folder), seed=0, splits=("train",))["train"]
    (tmp_path / "elsewhere").symlink_to(folder)
    moved = build_manifests(_config(tmp_path / "elsewhere"), seed=0, splits=("train",))["train"]
    assert moved.content_hash == manifest.content_hash
    part = build_manifests(_config(folder, val_fraction=0.3), seed=0)["train"]
    assert part.content_hash != manifest.content_hash


def _several(folder: Path, lines: str) -> Manifest:
    (folder / "several.csv").write_text("path,label\n" + lines)
    config = _config(folder, train="several.csv")
    return build_manifests(config, seed=0, splits=("train",))["train"]


def test_several_labels_are_kept_counted_and_opened_again(folder: Path, tmp_path: Path) -> None:
    manifest = _several(folder, "run/00.mp4,run|jump\nrun/01.mp4,run\njump/00.mp4,jump|swim|run\n")
    manifest.save(tmp_path / "saved")
    again = Manifest.open(tmp_path / "saved")
    assert again.has_several_labels and isinstance(again.label_numbers, np.memmap)
    assert [again.labels(number).tolist() for number in range(3)] == [[1, 0], [1], [0, 2, 1]]
    assert [again.row(number).label for number in range(3)] == [1, 1, 0]
    assert again.class_counts().tolist() == [2, 3, 1]
    sets_NK = label_sets_of(again, torch.tensor([2, 1, 1]))
    assert sets_NK is not None and sets_NK.tolist() == [[True] * 3, [False, True, False], [False, True, False]]
    assert again.content_hash == manifest.content_hash


def test_the_hash_tells_whose_labels_are_whose(folder: Path) -> None:
    lists = (
        "run/00.mp4,run|jump\nrun/01.mp4,run\n",
        "run/00.mp4,run\nrun/01.mp4,jump|run\n",
        "run/00.mp4,jump|run\nrun/01.mp4,run\n",
        "run/00.mp4,run\nrun/01.mp4,jump\n",
    )
    assert len({_several(folder, lines).content_hash for lines in lists}) == 4
    assert not _several(folder, lists[3]).has_several_labels


def test_labels_of_dropped_videos_are_dropped_with_them(tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    numbered_clip(tmp_path / "good.avi", "mjpeg", 4)
    manifest = _several(tmp_path, "bad.mp4,a|b|c\ngood.avi,c|a\n")
    assert manifest.labels(0).tolist() == [2, 0] and manifest.label_numbers.tolist() == [2, 0]


def test_splits_share_no_video_and_leave_none_out(folder: Path) -> None:
    config = _config(folder, val_fraction=0.25, test_fraction=0.25)
    manifests = build_manifests(config, seed=0, splits=("train", "val", "test"))
    paths = [manifest.path(n) for manifest in manifests.values() for n in range(len(manifest))]
    assert len(paths) == len(set(paths)) == 8
    assert all((manifest.class_counts() > 0).all() for manifest in manifests.values())


def test_the_test_list_is_not_opened_unless_asked_for(folder: Path) -> None:
    config = _config(folder, test="there_is_no_such_list.csv")
    assert set(build_manifests(config, seed=0)) == {"train"}
    with pytest.raises(ValueError, match=r"there_is_no_such_list.csv, found no file"):
        build_manifests(config, seed=0, splits=("test",))


def test_a_test_split_that_the_config_lacks_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"a test list or data.test_fraction above 0, found neither"):
        build_manifests(_config(folder), seed=0, splits=("test",))


def test_bad_files_are_dropped_by_name_and_cut_ones_used_with_their_true_length(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    cut = numbered_clip(tmp_path / "run" / "cut.avi", "mjpeg", 20)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    (tmp_path / "run" / "bad.mp4").write_bytes(b"no video")
    numbered_clip(tmp_path / "run" / "good.avi", "mjpeg", 20)
    messages: list[str] = []
    manifest = build_manifests(_config(tmp_path), seed=0, splits=("train",), on_message=messages.append)["train"]
    assert len(manifest) == 2 and manifest.num_listed == 3
    assert [path for path, reason in manifest.dropped] == ["run/bad.mp4"]
    assert manifest.row(0).video_info.num_frames < 20 and manifest.row(1).video_info.num_frames == 20
    assert any(message.startswith("train: run/bad.mp4: bad: ") for message in messages)
    assert any(message.startswith("train: run/cut.avi: cut: ") for message in messages)


def test_a_split_without_a_usable_video_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "bad.mp4").write_bytes(b"no video")
    with pytest.raises(ValueError, match=r"at least one usable video .* the first is run/bad.mp4 \(bad: "):
        build_manifests(_config(tmp_path), seed=0, splits=("train",))


def test_a_listed_file_that_is_missing_is_named(folder: Path, tmp_path: Path) -> None:
    lines = [f"{folder / 'run' / '00.mp4'},run", *(f"run/gone{number}.mp4,run" for number in range(8))]
    (tmp_path / "list.csv").write_text("path,label\n" + "\n".join(lines))
    (tmp_path / "test.csv").write_text("path,label\nrun/test.mp4,run\n")
    config = _config(tmp_path, train="list.csv", test="test.csv", val_fraction=0.5)
    missing = (
        r"list\.csv: expected its 9 videos under .*, found 8 of them missing: run/gone0\.mp4, run/gone1\.mp4, .*, "
    )
    advice = r"\.\.\.; check data\.root, or take them out of the list\."
    for splits in (("train",), ("train", "val")):
        with pytest.raises(ValueError, match=missing + advice + "$"):
            build_manifests(config, seed=0, splits=splits)
    with pytest.raises(
        ValueError, match=missing + advice + r"\n.*test\.csv: expected its 1 video under .*: run/test\.mp4;"
    ):
        build_manifests(config, seed=0, splits=("train", "test"))


def test_unequal_and_empty_classes_are_said_aloud(folder: Path, tmp_path: Path) -> None:
    lines = [f"{folder / 'jump' / '00.mp4'},jump"] + [f"{folder / 'run' / f'0{n}.mp4'},run" for n in (1, 2, 3)]
    (tmp_path / "list.csv").write_text("path,label\n" + "\n".join(lines))
    (tmp_path / "classes.txt").write_text("jump\nrun\n")
    messages: list[str] = []
    config = _config(tmp_path, train="list.csv", classes="classes.txt", scan_cache=tmp_path / "cache")
    build_manifests(config, seed=0, splits=("train",), on_message=messages.append)
    assert messages[1:] == ["train: classes are unequal, from 1 (jump) to 3 (run) videos"]
    assert list((tmp_path / "cache").glob("*.csv"))
    (tmp_path / "classes.txt").write_text("jump\nrun\nswim\n")
    build_manifests(config, seed=0, splits=("train",), on_message=messages.append)
    assert messages[-1] == "train: no usable video of 1 classes: swim"


def test_a_folder_without_a_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"found no manifest.json"):
        Manifest.open(tmp_path)
