from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dali_pipes.batch import label_sets_of
from dali_pipes.features import record_index
from dali_pipes.features.manifest import FeatureManifest, build_feature_manifests
from dali_pipes.features.tfrecord import RecordWriter, record_locations
from tests.dali_pipes.features.feature_files import flip_byte, labels_of_video, make_config, write_file
from tests.dali_pipes.features.sequence_examples import floats, integers, new, sequence_example, strings


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_file(tmp_path / "train0.tfrecord", range(12))
    write_file(tmp_path / "train1.tfrecord", range(12, 20))
    return tmp_path


def _train(root: Path, **changes: Any) -> tuple[FeatureManifest, list[str]]:
    messages: list[str] = []
    config = make_config(root, **changes)
    return build_feature_manifests(config, seed=0, splits=("train",), on_message=messages.append)["train"], messages


def _write_records(path: Path, *records: bytes) -> None:
    with RecordWriter(path) as writer:
        for record in records:
            writer.write(record)


def test_every_record_is_a_row_with_its_labels(root: Path) -> None:
    manifest, messages = _train(root)
    assert len(manifest) == manifest.num_listed == 20 and messages == []
    assert manifest.class_names == ("0", "1", "2", "3", "4")
    assert [tuple(manifest.labels(row)) for row in range(20)] == [labels_of_video(row) for row in range(20)]
    assert manifest.has_several_labels and manifest.num_labels.tolist() == [1, 2] * 10
    sets_NK = label_sets_of(manifest, torch.arange(20))
    assert sets_NK is not None and sets_NK.dtype == torch.bool
    assert [tuple(np.flatnonzero(row)) for row in sets_NK.numpy()] == [
        tuple(sorted(labels_of_video(row))) for row in range(20)
    ]
    assert manifest.class_counts().tolist() == sets_NK.sum(0).tolist()
    assert manifest.file(13) == str(root / "train1.tfrecord") and manifest.name(13).endswith("video v13")


def test_the_index_is_made_once_and_again_when_a_file_changes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    make = record_index._make_index
    monkeypatch.setattr(record_index, "_make_index", lambda *args: made.append(1) or make(*args))
    first, _ = _train(root)
    second, _ = _train(root, views={"student": {"num_frames": 2}})
    assert len(made) == 1 and second.content_hash == first.content_hash
    assert isinstance(second.index.rows.base, np.memmap)
    write_file(root / "train1.tfrecord", range(12, 19))
    third, _ = _train(root)
    assert len(made) == 2 and len(third) == 19 and third.content_hash != first.content_hash


@pytest.mark.parametrize("name", ["rows.npy", "ids.npy", "labels.npy", "about.json"])
@pytest.mark.parametrize("damage", [lambda data: data[:-3] + bytes([data[-3] ^ 1]) + data[-2:], lambda data: data[:9]])
def test_a_damaged_index_is_made_again(
    name: str, damage: Callable[[bytes], bytes], root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, _ = _train(root)
    rows, content_hash = first.index.rows.copy(), first.content_hash  # they are mapped from the file
    (path,) = root.rglob(name)
    path.write_bytes(damage(path.read_bytes()))
    second, _ = _train(root)
    assert caplog.text.count("the kept index is damaged and is made again") == 1
    assert second.content_hash == content_hash and np.array_equal(second.index.rows, rows)
    _train(root)
    assert caplog.text.count("the kept index is damaged") == 1


def test_a_folder_that_cannot_be_written_is_indexed_each_time(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dali_pipes.features.manifest.default_store", lambda folder: root / "train0.tfrecord")
    assert len(_train(root)[0]) == 20


def test_the_hash_is_that_of_the_records_wherever_they_lie(root: Path, tmp_path: Path) -> None:
    write_file(tmp_path / "other" / "train_all.tfrecord", range(20))
    moved = _train(tmp_path / "other")[0].content_hash
    assert moved == _train(root)[0].content_hash != _train(root, num_classes=6)[0].content_hash


def test_a_video_is_held_out_by_its_id_whatever_file_it_is_in(root: Path, tmp_path: Path) -> None:
    def held_out(folder: Path, seed: int) -> set[str]:
        config = make_config(folder, val_fraction=0.3)
        split = build_feature_manifests(config, seed=seed)
        names = [{one.name(row).split()[-1] for row in range(len(one))} for one in (split["train"], split["val"])]
        assert not names[0] & names[1] and len(names[0] | names[1]) == 20
        assert split["train"].num_listed + split["val"].num_listed == 20
        assert len(split["train"].labels(0)) == split["train"].num_labels[0]
        return names[1]

    write_file(tmp_path / "other" / "train.tfrecord", range(19, -1, -1))
    assert held_out(root, 0) == held_out(tmp_path / "other", 0) != held_out(root, 1)


@pytest.mark.parametrize(("fraction", "split"), [(1e-6, "val"), (1 - 1e-6, "train")])
def test_a_share_that_leaves_nothing_is_refused(root: Path, fraction: float, split: str) -> None:
    with pytest.raises(ValueError, match=f"leaves no video for {split}, of 20"):
        build_feature_manifests(make_config(root, val_fraction=fraction), seed=0)


def test_val_and_test_come_from_their_own_files(root: Path) -> None:
    write_file(root / "val.tfrecord", range(20, 23))
    write_file(root / "test.tfrecord", range(23, 25), id_key="video_id")
    config = make_config(root, val="val.tfrecord", test="test.tfrecord")
    splits = build_feature_manifests(config, seed=0, splits=("train", "val", "test"))
    assert {name: len(one) for name, one in splits.items()} == {"train": 20, "val": 3, "test": 2}
    assert splits["test"].name(1).endswith("video v24")
    assert set(build_feature_manifests(make_config(root), seed=0)) == {"train"}


def test_class_names_come_from_a_file(root: Path) -> None:
    (root / "classes.txt").write_text("a\nb\nc\nd\ne\n")
    assert _train(root, classes="classes.txt", num_classes=None)[0].class_names == ("a", "b", "c", "d", "e")


@pytest.mark.parametrize(
    ("labels", "reason"),
    [((), "no label"), ((5,), "labels from 0 to 4, found .5."), ((1, -1), "found .1, -1.")],
)
def test_a_video_without_a_class_is_dropped_by_name(root: Path, labels: tuple[int, ...], reason: str) -> None:
    write_file(root / "train2.tfrecord", [77], labels=labels)
    manifest, messages = _train(root)
    assert len(manifest) == 20 and manifest.num_listed == 21
    ((record, why),) = manifest.dropped
    assert record.startswith("train2.tfrecord, byte 12, video v77")
    assert re.search(reason, why) and len(messages) == 1 and "is left out" in messages[0]


def test_many_videos_of_unknown_classes_are_refused(root: Path) -> None:
    with pytest.raises(ValueError, match=r"12 of 20 videos have no label or one outside the 3.*check data.num_classes"):
        _train(root, num_classes=3)


def test_the_rest_of_a_cut_file_is_named_and_what_is_whole_is_used(root: Path) -> None:
    data = (root / "train1.tfrecord").read_bytes()
    (root / "train1.tfrecord").write_bytes(data[:-5])
    manifest, messages = _train(root)
    assert len(manifest) == 19 and manifest.num_listed == 20
    assert re.search("a record, 5 bytes short; .* to its end are lost .*, about 1 record$", messages[0])


def _headers(path: Path) -> list[int]:
    file = os.open(path, os.O_RDONLY)
    try:
        return [index.offset - 12 for index in record_locations(file)]
    finally:
        os.close(file)


@pytest.mark.parametrize("number", [0, 3, 11])
def test_a_flipped_bit_in_a_length_costs_its_record_alone(root: Path, number: int) -> None:
    path = root / "train0.tfrecord"
    data = bytearray(path.read_bytes())
    data[_headers(path)[number] + 1] ^= 1
    path.write_bytes(data)
    manifest, messages = _train(root)
    names = [manifest.name(row).split()[-1] for row in range(len(manifest))]
    assert names == [f"v{video}" for video in range(20) if video != number]
    assert manifest.num_listed == 20 and len(messages) == 1
    assert re.search(
        r"byte \d+ is left out: the checksum of the record's length is wrong; \d+ bytes .*% of the file\)", messages[0]
    )
    assert _train(root)[1] == messages  # the kept index says the same


def test_the_records_in_a_lost_stretch_are_estimated_and_counted(root: Path) -> None:
    write_file(root / "train1.tfrecord", [12] * 80)
    at = _headers(root / "train1.tfrecord")
    data = bytearray((root / "train1.tfrecord").read_bytes())
    data[at[20] : at[25]] = bytes(at[25] - at[20])
    data[at[70] :] = bytes(len(data) - at[70])
    (root / "train1.tfrecord").write_bytes(data)
    manifest, messages = _train(root, loader={"max_bad_fraction": 15 / 92})
    assert (len(manifest), manifest.num_listed) == (12 + 65, 12 + 80)
    assert "about 5 records" in messages[0] and "about 10 records" in messages[1]
    with pytest.raises(ValueError, match=r"15 of 92 videos are unreadable, such as train1.*, byte .*download"):
        _train(root, loader={"max_bad_fraction": 14 / 92})


def test_lost_records_and_bad_labels_are_counted_together(root: Path) -> None:
    (root / "train1.tfrecord").write_bytes((root / "train1.tfrecord").read_bytes()[:-5])
    write_file(root / "train2.tfrecord", [77], labels=())
    assert _train(root, loader={"max_bad_fraction": 2 / 21})[0].num_listed == 21
    with pytest.raises(ValueError, match="about 1 of 21 videos are unreadable, .*; 1 more have bad labels; download"):
        _train(root)


def test_an_empty_file_is_named(root: Path) -> None:
    (root / "train2.tfrecord").write_bytes(b"")
    manifest, messages = _train(root)
    assert len(manifest) == manifest.num_listed == 20
    assert messages == ["train: train2.tfrecord is left out: the file is empty"]
    assert manifest.dropped == (("train2.tfrecord", "the file is empty"),)


def test_an_index_of_no_video_at_all_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train.tfrecord").write_bytes(b"")
    with pytest.raises(ValueError, match="one usable video, found none of 0; .*train.tfrecord: the f"):
        _train(tmp_path)
    with pytest.raises(ValueError, match="found none of 0"):
        _train(tmp_path)  # also from the kept index of nothing


def test_a_long_context_or_one_behind_the_frames_is_read(root: Path) -> None:
    example = sequence_example(
        {"id": strings(b"x" * 3000), "labels": integers(4)},
        {"rgb": [strings(b"6bytes")], "audio": [strings(b"2b")]},
    )
    behind = new("SequenceExample", feature_lists=example.feature_lists).SerializeToString()
    behind += new("SequenceExample", context=example.context).SerializeToString()
    _write_records(root / "train2.tfrecord", example.SerializeToString(), behind)
    manifest, _ = _train(root)
    assert manifest.labels(20).tolist() == manifest.labels(21).tolist() == [4]
    assert manifest.name(21).endswith("x" * 3000)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (sequence_example({"id": strings(b"a")}, {}).SerializeToString(), "expected feature lists .*, found none"),
        (
            sequence_example({}, {"rgb": [strings(b"12345")], "audio": [strings(b"12")]}).SerializeToString(),
            r"rgb': 6, 'audio': 2} \(bytes per frame\), found rgb \(5\), audio \(2\); set data.groups",
        ),
        (
            sequence_example({}, {"rgb": [floats(float("nan"))], "audio": [strings(b"12")]}).SerializeToString(),
            r"found rgb \(floats\).*only features quantized to 8 bits are read",
        ),
        (b"\xff\xff\xff", "expected records of type SequenceExample"),
    ],
)
def test_foreign_records_are_refused_at_the_start(root: Path, record: bytes, message: str) -> None:
    _write_records(root / "train2.tfrecord", record)
    with pytest.raises(ValueError, match=message):
        _train(root)


def test_files_of_another_kind_are_refused(root: Path) -> None:
    (root / "train2.tfrecord").write_text("id,label\n" * 9)
    with pytest.raises(ValueError, match="expected a TFRecord file in .*train2.tfrecord, found none"):
        _train(root)


@pytest.mark.parametrize("pattern", ["nothing*.tfrecord", "/train*.tfrecord"])
def test_a_pattern_without_files_is_refused(root: Path, pattern: str) -> None:
    with pytest.raises(ValueError, match="data: expected"):
        _train(root, train=pattern)


def test_a_split_that_is_not_there_is_refused(root: Path) -> None:
    with pytest.raises(ValueError, match="data.test: expected a pattern"):
        build_feature_manifests(make_config(root), seed=0, splits=("test",))
    with pytest.raises(ValueError, match="splits: expected"):
        build_feature_manifests(make_config(root), seed=0, splits=("tests",))


def test_a_damaged_first_record_does_not_refuse_its_file(root: Path) -> None:
    flip_byte(root / "train1.tfrecord", 60)
    os.utime(root / "train1.tfrecord")
    assert _train(root)[0].num_listed == 20
