from __future__ import annotations

import itertools
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dali_pipes.batch import ClipBatch
from dali_pipes.config import DataConfig
from reskd.api.loaders import make_loader


@pytest.fixture(scope="module")
def data(make_folder: Callable[..., Path]) -> dict[str, Any]:
    return {
        "root": make_folder({"left": ["libx264"] * 4, "right": ["libx264"] * 4}, num_frames=12),
        "train": "folders",
        "val_fraction": 0.25,
        "sampling": {"num_frames": 2},
        "views": {"teacher": {"size": 32}, "student": {"size": 16}},
        "loader": {"num_workers": 1, "num_threads": 1},
    }


def _take(count: int, *arguments: Any, **options: Any) -> list[Any]:
    loader = make_loader(*arguments, **options)
    try:
        return list(itertools.islice(loader, count))
    finally:
        loader.close()


def test_training_goes_on_exactly_and_ranks_share_the_clips_of_a_step(data: dict[str, Any]) -> None:
    whole = _take(3, data, 4, seed=3)
    (third,) = _take(1, DataConfig.model_validate(data), 4, seed=3, first_batch=2)
    for name in ("teacher", "student"):
        assert torch.equal(third.views[name].data, whole[2].views[name].data)
    ranks = [_take(1, data, 2, seed=3, rank=rank, world_size=2, views=("student",))[0] for rank in range(2)]
    assert torch.equal(torch.cat([rank.ids_N for rank in ranks]), whole[0].ids_N)
    assert set(ranks[0].views) == {"student"}


def test_validation_is_one_pass(data: dict[str, Any]) -> None:
    batches = _take(99, data, 2, split="val")
    assert sum(batch.num_clips for batch in batches) == 2


def test_a_loader_resumes_from_its_state_to_the_bit_with_any_number_of_ranks(data: dict[str, Any]) -> None:
    whole = _take(5, data, 4, seed=3)
    with make_loader(data, 4, seed=3) as stopped:
        assert len(stopped) == stopped.num_batches == 2  # 6 clips
        for _ in itertools.islice(stopped, 3):  # amid the second epoch, with two batches prefetched
            pass
        state = stopped.state_dict()
        with make_loader(data, 4, seed=3) as other:
            next(iter(other))
            other.load_state_dict(state)  # also of a loader that runs
            assert other.state_dict() == state
            _assert_equal(list(itertools.islice(other, 2)), whole[3:])
        stopped.load_state_dict({**state, "next_batch": 1})
        _assert_equal(list(itertools.islice(stopped, 1)), whole[1:2])
    halves = []
    for rank in range(2):
        with make_loader(data, 2, seed=3, rank=rank, world_size=2) as part:
            part.load_state_dict(state)
            halves.append(next(iter(part)))
    assert torch.equal(torch.cat([half.views["teacher"].data for half in halves]), whole[3].views["teacher"].data)


def _assert_equal(found: list[ClipBatch], expected: list[ClipBatch]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.positions_N.tolist() == other.positions_N.tolist() and one.ids_N.tolist() == other.ids_N.tolist()
        assert all(torch.equal(one.views[name].data, other.views[name].data) for name in ("teacher", "student"))


def test_names_of_classes_and_videos_and_what_print_shows(data: dict[str, Any]) -> None:
    with make_loader(data, 2, seed=3) as loader:
        batch = next(iter(loader))
        assert loader.class_names == ("left", "right")
        for video, label in zip(batch.ids_N, batch.labels_N, strict=True):
            assert loader.path(video).startswith(f"{loader.class_names[label]}/")
            assert (data["root"] / loader.path(int(video))).is_file()
        with pytest.raises(IndexError, match="found -1"):
            loader.path(-1)
        assert repr(loader).startswith("ClipLoader(6 videos of 2 classes, 3 batches of 2 clips an epoch")
    view = "data_NTHWC uint8 (2, 2, 32, 32, 3), frame_index_NT int64 (2, 2), valid_NT bool (2, 2), on cpu"
    assert repr(batch.views["teacher"]) == f"View({view})"
    assert repr(batch).splitlines() == [
        "ClipBatch(2 clips",
        f"    views['teacher']: View({view})",
        f"    views['student']: View({view.replace('32', '16')})",
        "    labels_N int64 (2,), ids_N int64 (2,), positions_N int64 (2,), substituted_N bool (2,), "
        "label_sets_NK None, on cpu)",
    ]


def test_every_epoch_reads_each_clip_once_and_no_batch_is_cut(data: dict[str, Any]) -> None:
    batches = _take(3, data, 4, views=("student",))  # two epochs of 6 clips
    assert [batch.num_clips for batch in batches] == [4, 4, 4]
    ids, positions = (torch.cat([getattr(batch, name) for batch in batches]) for name in ("ids_N", "positions_N"))
    for epoch in range(2):
        assert sorted(ids[positions // 6 == epoch].tolist()) == list(range(6))
    (val,) = _take(9, data, 4, split="val")
    assert val.padding_N.tolist() == [False, False, True, True]


def test_damage_is_a_warning_and_the_scan_is_told(
    data: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "videos"
    shutil.copytree(data["root"], root, ignore=shutil.ignore_patterns(".reskd_scan"))
    (root / "left/broken.mp4").write_bytes(b"no video")
    changed = {**data, "root": root, "scan_cache": tmp_path / "scans"}
    with caplog.at_level(logging.INFO):
        make_loader(changed, 2).close()
    told = [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "reskd.api.loaders"]
    assert told[0][0] == "INFO" and told[0][1].startswith("scanning ") and f"{tmp_path / 'scans'}" in told[0][1]
    warnings = [message for level, message in told if level == "WARNING"]
    assert warnings[0].startswith("train: left/broken.mp4: bad") and "1 of 7 files are damaged" in warnings[1]
    caplog.clear()
    said: list[str] = []
    make_loader(changed, 2, on_message=said.append).close()
    assert any("are damaged" in message for message in said)
    assert not [record for record in caplog.records if record.name == "reskd.api.loaders"]
    assert not (root / ".reskd_scan").exists()


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"trian": "folders"}, {}, "data: unknown key trian; did you mean train?"),
        ({"knd": "clips"}, {}, "data: unknown key knd; did you mean kind?"),
        ({"train": "gone.csv"}, {}, "gone.csv"),
        ({"views": {"student": {"size": -1}}}, {}, "data: views.student.size"),
        ({"root": "nowhere"}, {}, "nowhere"),
        ({"val_fraction": 0.0}, {"split": "val"}, "split: expected val videos, found none"),
        ({}, {"views": ("both",)}, "both"),
        ({}, {"rank": 2}, "rank: expected 0 to 0, found 2"),
    ],
)
def test_what_does_not_fit_is_a_sentence(
    data: dict[str, Any], change: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        make_loader({**data, **change}, 2, **options)
    assert message in str(caught.value)
