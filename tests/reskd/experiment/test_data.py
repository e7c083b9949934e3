from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from dali_pipes.sampling.order import ReadingOrder
from dali_pipes.sampling.spec import ONE_TEST_VIEW, TestViews
from reskd.experiment.clip_data import ClipData
from reskd.experiment.config import ExperimentConfig, parse_config
from reskd.experiment.data import data_of
from reskd.experiment.feature_data import FeatureData
from reskd.models.config import parse_recognizer
from tests.reskd.experiment.test_config import tree
from tests.reskd.feature_files import DIM, MAX_FRAMES, NUM_CLASSES, experiment, network, write_features
from tests.structure import ROOT, source_files

NOWHERE = Path("nowhere")


def clips(**changes: Any) -> ExperimentConfig:
    """``changes`` are of the data."""
    settings = tree()
    settings["data"] |= changes
    return parse_config(settings)


def features(root: Path = NOWHERE) -> ExperimentConfig:
    return parse_config(experiment(root, NOWHERE))


def test_each_kind_has_its_own_data_and_is_refused_as_the_other() -> None:
    assert isinstance(data_of(clips()), ClipData) and isinstance(data_of(features()), FeatureData)
    with pytest.raises(ValueError, match="trained on features .*expected videos"):
        _ = features().clips
    with pytest.raises(ValueError, match="trained on videos .*expected features"):
        _ = clips().features


def test_the_kind_of_data_is_asked_in_one_place() -> None:
    asked = re.compile(r"isinstance\([^()]*\b(FeatureDataConfig|DataConfig)\b")
    found = [path.as_posix() for path in source_files() if asked.search((ROOT / path).read_text(encoding="utf-8"))]
    assert found == ["reskd/experiment/data.py"]


def test_clips_know_their_labels_before_a_video_is_opened(tmp_path: Path) -> None:
    rows = [f"{number}.mp4,{'a|b' if number == 0 else 'a' if number % 2 else 'b'}" for number in range(20)]
    (tmp_path / "train.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    data = data_of(clips(root=str(tmp_path), val_fraction=0.2))
    listed = data.listed_labels(seed=1)
    assert listed is not None and len(listed.class_names) == 2
    counts = {split: len(labels) for split, labels in listed.num_labels.items()}
    assert sum(counts.values()) == 20 and 0 < counts["val"] < counts["train"]
    assert sorted(number for labels in listed.num_labels.values() for number in labels)[-2:] == [1, 2]
    assert data.count_training_list(seed=1) == (counts["train"], 2)


def test_features_count_their_records(tmp_path: Path) -> None:
    data = data_of(features(write_features(tmp_path)))
    manifests = data.build_manifests(("train", "val"), seed=1, on_message=lambda message: None)
    assert data.listed_labels(seed=1) is None
    assert data.count_training_list(seed=1) == (len(manifests["train"]), NUM_CLASSES)
    assert len(manifests["train"]) + len(manifests["val"]) == 24


def test_features_are_read_in_the_order_that_is_asked_for(tmp_path: Path) -> None:
    config = features(write_features(tmp_path))
    data = data_of(config)
    manifest = data.build_manifests(("test",), seed=1, on_message=lambda message: None)["test"]
    loader = data.make_loader(
        manifest,
        ReadingOrder(mode="eval", batch_size=5, seed=1, rank=1, world_size=2),
        views=("student",),
        device=torch.device("cpu"),
        quarantine=tmp_path / "quarantine.csv",
    )
    batches = [batch.positions_N.tolist() for batch in loader]
    loader.close()
    assert batches[:2] == [[5, 6, 7, 8, 9], [15, 16, 17, 18, 19]]


def test_a_test_shows_clips_as_often_as_its_settings_say_and_features_once() -> None:
    sampling = {"test_clips": 10, "test_crops": 3, "val_clips": 2, "average_views": "logits"}
    data = data_of(clips(sampling=sampling))
    assert data.test_views("test") == TestViews(10, 3) and data.test_views("val") == TestViews(2, 1)
    assert data.averaging == "logits"
    assert [data_of(features()).test_views(split) for split in ("val", "test")] == [ONE_TEST_VIEW, ONE_TEST_VIEW]


def test_the_students_view_comes_first() -> None:
    assert list(data_of(clips()).view_shapes().items()) == [("student", (8, 32, 32)), ("teacher", (8, 64, 64))]
    assert data_of(features()).view_shapes() == {"student": (4, DIM)}


@pytest.mark.parametrize(("k", "num_frames", "expected"), [(None, 16, True), (4, 8, False), (4, 4, True)])
def test_all_frames_of_a_clip_span_the_video(k: int | None, num_frames: int, expected: bool) -> None:
    views = {"student": {"size": 32, "source": "decoded", "num_frames": k}, "teacher": {"size": 64}}
    assert data_of(clips(views=views)).student_sees_all(num_frames) is expected


@pytest.mark.parametrize(("k", "num_frames", "expected"), [(None, 9, False), (None, 8, True), (4, 8, False)])
def test_features_beyond_the_first_are_cut_off(k: int | None, num_frames: int, expected: bool) -> None:
    settings = experiment(NOWHERE, NOWHERE)
    settings["data"]["views"] = {"student": {"num_frames": k}}
    assert MAX_FRAMES == 8
    assert data_of(parse_config(settings)).student_sees_all(num_frames) is expected


def test_only_features_ask_a_network_for_their_groups() -> None:
    other = parse_recognizer(network() | {"groups": {"audio": DIM}})
    data_of(clips()).check_network(other)
    with pytest.raises(ValueError, match=r"expected data.groups \[\('rgb', 6\)\], in that order, found groups"):
        data_of(features()).check_network(other)
