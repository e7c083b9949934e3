from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dali_pipes.choices import FrameSelection
from dali_pipes.features.config import FeatureDataConfig
from dali_pipes.features.manifest import build_feature_manifests
from dali_pipes.features.quantization import to_bytes
from dali_pipes.sampling.student_frames import select_frames
from dali_pipes.synthetic.features import (
    SyntheticSpec,
    SyntheticVideo,
    make_video,
    prototypes,
    write_synthetic,
)

SPEC = SyntheticSpec()


@pytest.fixture(scope="module")
def videos() -> list[SyntheticVideo]:
    prototypes_kd = prototypes(SPEC)
    return [make_video(SPEC, "test", number, prototypes_kd) for number in range(150)]


def _values(video: SyntheticVideo) -> np.ndarray:
    return np.concatenate(list(video.groups.values()), axis=1) * (4.0 / 255) + 4 / 512 - 2


def _share_seen(videos: list[SyntheticVideo], selection: FrameSelection, k: int) -> float:
    """Share of the labels that at least one selected frame shows."""
    seen = [
        video.shows[select_frames(selection, k, len(video.shows), key=(number,))].any(0)
        for number, video in enumerate(videos)
    ]
    return float(np.concatenate(seen).mean())


@pytest.mark.parametrize("k", [6, 15, 30])
def test_frames_spread_evenly_show_most_labels_and_the_last_ones_fewest(videos: list[SyntheticVideo], k: int) -> None:
    order: list[FrameSelection] = ["uniform", "random", "middle", "first", "last"]
    shares = [_share_seen(videos, selection, k) for selection in order]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] - shares[1] > 0.02 and shares[1] - shares[3] > 0.3


def test_neighbors_are_alike_and_scenes_are_not(videos: list[SyntheticVideo]) -> None:
    def cosines(frames: np.ndarray, step: int) -> np.ndarray:
        unit = frames / np.linalg.norm(frames, axis=1, keepdims=True)
        return (unit[:-step] * unit[step:]).sum(1)

    long = [_values(video) for video in videos if len(video.shows) > 100]
    assert np.median(np.concatenate([cosines(frames, 1) for frames in long])) > 0.9
    assert np.median(np.concatenate([cosines(frames, 40) for frames in long])) < 0.3


def test_every_label_shows_and_lengths_vary(videos: list[SyntheticVideo]) -> None:
    lengths = [len(video.shows) for video in videos]
    assert min(lengths) < SPEC.frames[0] and max(lengths) <= SPEC.frames[1] and np.std(lengths) > 50
    assert all(video.shows.any(0).all() for video in videos)
    assert {len(video.labels) for video in videos} == {1, 2, 3}
    assert 0.08 < np.concatenate([video.shows.mean(0) for video in videos]).mean() < 0.16


def test_frames_that_show_a_label_point_to_its_prototype(videos: list[SyntheticVideo]) -> None:
    towards = [[], []]
    for video in videos:
        for index, label in enumerate(video.labels):
            scores = _values(video) @ prototypes(SPEC)[label]
            for shows in (0, 1):
                towards[shows].append(scores[video.shows[:, index] == shows].mean())
    assert np.nanmean(towards[1]) > np.nanmean(towards[0]) + 2


def test_values_are_quantized_as_youtube_8m_reads_them() -> None:
    levels = np.arange(256)
    assert (to_bytes(levels * (4.0 / 255) + 4 / 512 - 2) == levels).all()
    assert to_bytes(np.array([-9.0, 9.0])).tolist() == [0, 255]


def test_what_is_written_is_what_was_made_and_its_hash_says_so(tmp_path: Path) -> None:
    spec = replace(SPEC, frames=(5, 20), groups={"rgb": 8})
    counts = {"train": 7, "test": 3}
    first = write_synthetic(spec, tmp_path / "a", counts, videos_per_file=3)
    assert first == write_synthetic(spec, tmp_path / "b", counts, videos_per_file=100)
    assert first != write_synthetic(replace(spec, seed=1), tmp_path / "c", counts)
    assert json.loads((tmp_path / "a" / "about.json").read_text())["content_hash"] == first
    config = FeatureDataConfig.model_validate(
        {"kind": "features", "root": tmp_path / "a", "train": "train*", "test": "test*", "classes": "classes.txt"}
        | {"groups": {"rgb": 8}}
    )
    manifests = build_feature_manifests(config, seed=0, splits=("train", "test"))
    assert [len(manifests[split]) for split in counts] == [7, 3]
    made = [make_video(spec, "train", number, prototypes(spec)).labels for number in range(7)]
    assert [tuple(manifests["train"].labels(row)) for row in range(7)] == made


TINY = replace(SPEC, frames=(2, 4), groups={"rgb": 3})


def test_other_videos_are_not_mixed_into_a_folder(tmp_path: Path) -> None:
    first = write_synthetic(TINY, tmp_path, {"train": 5}, videos_per_file=2)
    assert write_synthetic(TINY, tmp_path, {"train": 5}, videos_per_file=2) == first
    for spec, count, each in ((TINY, 3, 2), (TINY, 5, 3), (replace(TINY, seed=1), 5, 2)):
        with pytest.raises(ValueError, match=r"records with other settings \((num_videos|videos_per_file|spec) was"):
            write_synthetic(spec, tmp_path, {"train": count}, videos_per_file=each)
    (tmp_path / "about.json").unlink()
    with pytest.raises(ValueError, match="has records of another origin, such as train0000.tfrecord"):
        write_synthetic(TINY, tmp_path, {"train": 5}, videos_per_file=2)


def test_a_folder_that_was_begun_is_finished_by_the_same_settings_alone(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_synthetic(TINY, tmp_path, {"train": 5}, videos_per_file=2, on_progress=stop)
    assert (tmp_path / "train0000.tfrecord").exists() and not (tmp_path / "about.json").exists()
    with pytest.raises(ValueError, match="with other settings"):
        write_synthetic(TINY, tmp_path, {"train": 2}, videos_per_file=2)
    write_synthetic(TINY, tmp_path, {"train": 5}, videos_per_file=2)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", *[".tfrecord"] * 3, ".txt"]


@pytest.mark.parametrize("counts", [{"train": -3, "test": 5}, {"train": 0, "test": 0}, {}, {"trian": 3}])
def test_numbers_of_videos_that_are_none_are_refused(tmp_path: Path, counts: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="videos: expected numbers from 0 on, not all 0, for .*found {"):
        write_synthetic(TINY, tmp_path / "new", counts)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", -1),
        ("num_classes", 0),
        ("groups", {}),
        ("groups", {"rgb:8": None}),
        ("groups", {"rgb": 0}),
        ("frames", (300, 60)),
        ("frames", (0, 4)),
        ("frames", (2.5, 4)),
        ("event_frames", (0, 0)),
        ("short_share", 7.0),
        ("visible", -0.1),
        ("scene_frames", 0.5),
        ("noise", float("nan")),
        ("signal", float("inf")),
        ("end_rate", -1.0),
    ],
)
def test_settings_that_do_not_fit_are_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{name}: expected .*, found "):
        replace(SPEC, **{name: value})


def test_the_frozen_data_are_what_they_were() -> None:
    """NumPy promises no stable streams; this says when they have changed."""
    video = make_video(SPEC, "train", 0, prototypes(SPEC))
    assert (video.labels, len(video.shows), int(video.groups["rgb"].sum())) == ((12,), 279, 1684248)
