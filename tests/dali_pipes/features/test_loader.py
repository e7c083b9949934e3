from __future__ import annotations

import itertools
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dali_pipes.batch import PADDING_POSITION, ClipBatch, FeatureView
from dali_pipes.fault_log import TooManyBadClipsError
from dali_pipes.features.loader import FeatureLoader
from dali_pipes.features.manifest import build_feature_manifests
from dali_pipes.features.sequence_example import encode_video
from dali_pipes.features.tfrecord import RecordWriter
from dali_pipes.sampling.order import epoch_order
from dali_pipes.sampling.student_frames import select_frames
from tests.dali_pipes.features.feature_files import (
    NUM_CLASSES,
    flip_byte,
    frames_of_video,
    labels_of_video,
    make_config,
    num_frames_of_video,
    write_file,
)
from tests.dali_pipes.loaders import feature_loader

NUM_VIDEOS = 20


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_file(tmp_path / "train0.tfrecord", range(12))
    write_file(tmp_path / "train1.tfrecord", range(12, NUM_VIDEOS))
    return tmp_path


def _loader(root: Path, config: dict[str, Any] | None = None, **options: Any) -> FeatureLoader:
    chosen = make_config(root, **(config or {}))
    manifest = build_feature_manifests(chosen, seed=0, splits=("train",))["train"]
    given: dict[str, Any] = {"views": ("teacher", "student"), "mode": "eval", "batch_size": 8} | options
    return feature_loader(manifest, chosen, **given)


def _take(loader: FeatureLoader, count: int | None = None) -> list[ClipBatch]:
    batches = list(itertools.islice(loader, count))
    loader.close()
    return batches


def _video_info(batches: Iterable[ClipBatch]) -> list[tuple[Any, ...]]:
    """All that a batch holds, to the bit."""
    return [
        (
            batch.positions_N.tolist(),
            batch.ids_N.tolist(),
            batch.labels_N.tolist(),
            batch.targets.tolist(),
            {name: tuple(tensor.numpy().tobytes() for tensor in _tensors(view)) for name, view in batch.views.items()},
        )
        for batch in batches
    ]


def _tensors(view: Any) -> tuple[torch.Tensor, ...]:
    assert isinstance(view, FeatureView)
    return view.data_NTD, view.frame_index_NT, view.valid_NT


def test_a_batch_holds_each_videos_frames_padded_with_zeros(root: Path) -> None:
    batches = _take(_loader(root))
    assert [batch.positions_N.tolist() for batch in batches[:2]] == [list(range(8)), list(range(8, 16))]
    assert batches[2].positions_N.tolist() == [16, 17, 18, 19, *[PADDING_POSITION] * 4]
    for batch in batches:
        teacher, student = batch.views["teacher"], batch.views["student"]
        assert tuple(teacher.data.shape) == (8, 10, 8) and tuple(student.data.shape) == (8, 3, 8)
        for index, row in enumerate(batch.ids_N.tolist()):
            frames = np.concatenate(list(frames_of_video(row, num_frames_of_video(row)).values()), axis=1)[:10]
            n = len(frames)
            assert (teacher.data[index, :n].numpy() == frames).all() and not teacher.data[index, n:].any()
            assert teacher.valid_NT[index].tolist() == [True] * n + [False] * (10 - n)
            assert teacher.frame_index_NT[index].tolist() == [*range(n), *[0] * (10 - n)]
            chosen = select_frames("uniform", 3, n)
            assert (student.data[index, : len(chosen)].numpy() == frames[chosen]).all()
            assert not student.data[index, len(chosen) :].any()
            assert student.valid_NT[index].sum() == min(3, n)
            assert student.frame_index_NT[index].tolist() == [*chosen, *[0] * (3 - len(chosen))]
            assert batch.label_sets_NK is not None
            assert set(batch.label_sets_NK[index].nonzero().flatten().tolist()) == set(labels_of_video(row))
            assert batch.labels_N[index] == labels_of_video(row)[0]
    assert not torch.cat([batch.substituted_N for batch in batches]).any()


def test_lists_with_one_label_a_video_have_no_label_sets(tmp_path: Path) -> None:
    write_file(tmp_path / "train.tfrecord", range(4), labels=[NUM_CLASSES - 1])
    (batch,) = _take(_loader(tmp_path, batch_size=4))
    assert batch.label_sets_NK is None and batch.targets.tolist() == [NUM_CLASSES - 1] * 4


@pytest.mark.parametrize("config", [{}, {"loader": {"num_threads": 3, "prefetch": 5}}])
def test_training_shuffles_all_files_together_by_position(root: Path, config: dict[str, Any]) -> None:
    batches = _take(_loader(root, config, mode="train", seed=4), 5)
    rows = torch.cat([batch.ids_N for batch in batches]).tolist()
    assert rows == [*epoch_order(4, 0, NUM_VIDEOS), *epoch_order(4, 1, NUM_VIDEOS)]


@pytest.mark.parametrize("selection", ["uniform", "random"])
def test_a_loader_that_starts_later_gives_the_same_batches(root: Path, selection: str) -> None:
    config = {"views": {"teacher": {}, "student": {"num_frames": 3, "selection": selection}}}
    whole = _video_info(_take(_loader(root, config, mode="train", seed=4), 7))
    assert _video_info(_take(_loader(root, config, mode="train", seed=4, first_batch=4), 3)) == whole[4:]
    two_parts = _loader(root, config, mode="train", seed=4)
    assert _video_info(itertools.islice(two_parts, 2)) + _video_info(_take(two_parts, 2)) == whole[:4]


def test_ranks_share_a_step_and_a_pass(root: Path) -> None:
    one = _take(_loader(root, mode="train", batch_size=8), 2)
    for step, batch in enumerate(one):
        parts = [
            _take(
                _loader(
                    root, mode="train", batch_size=2, global_batch_size=8, rank=r, world_size=2, first_batch=2 * step
                ),
                2,
            )
            for r in range(2)
        ]
        assert (
            torch.cat([part.ids_N for parts_of_rank in parts for part in parts_of_rank]).tolist()
            == batch.ids_N.tolist()
        )
    passes = [_take(_loader(root, batch_size=3, rank=rank, world_size=2)) for rank in range(2)]
    assert len(passes[0]) == len(passes[1]) == 4
    seen = torch.cat([batch.positions_N for one_pass in passes for batch in one_pass])
    assert sorted(seen[seen != PADDING_POSITION].tolist()) == list(range(NUM_VIDEOS))


def test_random_frames_are_new_each_epoch_and_the_same_in_each_evaluation(root: Path) -> None:
    config = {"views": {"student": {"num_frames": 3, "selection": "random"}}}

    def frames_of_rows(loader: FeatureLoader, epoch: int) -> dict[int, list[int]]:
        batches = _take(loader, 5 * (epoch + 1))[5 * epoch :]
        numbers = torch.cat([batch.views["student"].frame_index_NT for batch in batches]).tolist()
        return dict(zip(torch.cat([batch.ids_N for batch in batches]).tolist(), numbers, strict=True))

    trained = [frames_of_rows(_loader(root, config, views=("student",), mode="train", batch_size=4), e) for e in (0, 1)]
    assert trained[0] != trained[1]
    first, again = (frames_of_rows(_loader(root, config, views=("student",), batch_size=4), 0) for _ in range(2))
    smaller = frames_of_rows(_loader(root, config, views=("student",), batch_size=4, rank=0, world_size=1), 0)
    assert first == again == smaller
    other_seed = frames_of_rows(_loader(root, config, views=("student",), batch_size=4, seed=9), 0)
    assert first != other_seed


def test_an_evaluation_pass_starts_anew_after_one_that_was_broken_off(root: Path) -> None:
    loader = _loader(root)
    whole = _video_info(loader)
    next(iter(loader))
    assert _video_info(loader) == whole
    assert loader.num_batches == 3 and loader.num_samples == NUM_VIDEOS and loader.num_test_views == 1
    loader.close()
    loader.close()
    with pytest.raises(RuntimeError, match="expected an open loader"):
        next(iter(loader))


def test_a_student_of_all_frames_sees_what_the_teacher_sees(root: Path) -> None:
    (batch, *_) = _take(_loader(root, {"views": {"teacher": {}, "student": {}}}))
    for mine, other in zip(*map(_tensors, batch.views.values()), strict=True):
        assert torch.equal(mine, other)


def test_the_stride_over_the_padding_leaves_short_videos_one_frame(root: Path) -> None:
    config = {"views": {"student": {"num_frames": 3, "selection": "every_jth_of_300"}}}
    (batch, *_) = _take(_loader(root, config, views=("student",)))
    assert batch.views["student"].valid_NT.sum(1).tolist() == [1] * 8


def _bad_record(root: Path, kind: str) -> int:
    """Damage video 5, or write a bad video in its place, without a change that the index would see. Returns its row."""
    path = root / "train0.tfrecord"
    manifest = build_feature_manifests(make_config(root), seed=0, splits=("train",))["train"]
    if kind == "bytes":
        flip_byte(path, manifest.location(5).offset + 40)
        return 5
    frames = frames_of_video(5, 4)
    changed = {
        "missing": {"rgb": frames["rgb"]},
        "length": {"rgb": frames["rgb"][:, :5], "audio": frames["audio"]},
        "empty": {name: one[:0] for name, one in frames.items()},
        "extra": {**frames, "optical_flow": frames["rgb"]},
    }[kind]
    numbers = [*range(5), None, *range(6, 12)]
    with RecordWriter(path) as writer:
        for number in numbers:
            groups = changed if number is None else frames_of_video(number, num_frames_of_video(number))
            shown = 5 if number is None else number
            writer.write(encode_video(video_id=f"v{shown}", labels=labels_of_video(shown), groups=groups))
    return 5


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("bytes", "CRC-32C"),
        ("missing", "expected a feature list audio, found .'rgb'."),
        ("length", "feature list rgb: expected one string of 6 bytes per frame, found strings of .5. bytes in frame 0"),
        ("empty", "expected at least one frame, found none"),
    ],
)
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_a_bad_record_is_replaced_counted_and_named(root: Path, kind: str, reason: str, mode: str) -> None:
    bad = _bad_record(root, kind)
    quarantine = root / "quarantine.csv"
    messages: list[str] = []
    options = {"mode": mode, "batch_size": 5, "quarantine": quarantine, "on_message": messages.append}
    loader = _loader(root, **options)
    batches = _take(loader, 4)
    substituted = torch.cat([batch.substituted_N for batch in batches])
    shown = torch.cat([batch.ids_N for batch in batches])
    assert substituted.sum() == 1 and bad not in shown
    assert loader.faults.num_served == 20 and loader.faults.num_substituted == 1
    (line,) = quarantine.read_text().splitlines()[1:]
    assert "train0.tfrecord" in line and "v5" in line
    assert re.search(reason, line) and any(re.search(reason, message) for message in messages)
    stand_in = int(substituted.nonzero())
    again = torch.cat([batch.ids_N for batch in _take(_loader(root, mode=mode, batch_size=10), 2)])
    assert again[stand_in] == shown[stand_in]


def test_features_beyond_those_that_are_asked_for_are_left_unread(root: Path) -> None:
    _bad_record(root, "extra")
    assert not torch.cat([batch.substituted_N for batch in _take(_loader(root))]).any()


def test_a_position_without_a_readable_video_stops_the_run(root: Path) -> None:
    loader = _loader(root)
    for name in ("train0.tfrecord", "train1.tfrecord"):
        (root / name).write_bytes(b"")
    with pytest.raises(RuntimeError, match="position 0: expected a readable video, found none among 20 of the list"):
        next(iter(loader))
    with pytest.raises(RuntimeError, match="was closed or has failed"):
        next(iter(loader))


def test_too_many_bad_records_stop_the_run(root: Path) -> None:
    _bad_record(root, "bytes")
    loader = _loader(root, {"loader": {"max_bad_fraction": 0}})
    with pytest.raises(TooManyBadClipsError, match="train0.tfrecord"):
        list(loader)


def test_a_long_video_is_cut_and_that_is_said_once(root: Path) -> None:
    messages: list[str] = []
    _take(_loader(root, {"max_frames": 4}, on_message=messages.append))
    assert len(messages) == 1 and "has 6 frames; frames beyond data.max_frames = 4 are not read" in messages[0]


@pytest.mark.parametrize("views", [(), ("student", "student"), ("pixels",)])
def test_unknown_views_are_refused(root: Path, views: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="views: expected some of"):
        _loader(root, views=views)


def test_what_reads_records_imports_neither_torch_nor_pydantic() -> None:
    program = "import sys, dali_pipes.features.source; print(*{'torch', 'pydantic', 'nvidia.dali'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=True)
    assert done.stdout.strip() == ""


def test_records_and_classes_have_names_and_a_loader_resumes_from_its_state(root: Path) -> None:
    whole = _take(_loader(root, mode="train", seed=5), 6)
    with _loader(root, mode="train", seed=5) as stopped:
        for _ in zip(range(4), stopped, strict=False):
            pass
        state = stopped.state_dict()
        assert state["next_batch"] == 4 and len(stopped) == stopped.num_batches == 3
        assert "20 videos" in repr(stopped) and stopped.class_names[0] == "0"
        assert stopped.path(whole[0].ids_N[0]).startswith(("train0.tfrecord", "train1.tfrecord"))
    again = _loader(root, mode="train", seed=5)
    again.load_state_dict(state)
    assert _video_info(_take(again, 2)) == _video_info(whole[4:])
