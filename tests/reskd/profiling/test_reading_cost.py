from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dali_pipes.config import DataConfig
from dali_pipes.loader.decoder_choice import DecoderRule
from dali_pipes.nvdec.abilities import Nvdec
from reskd.profiling.reading_cost import SAMPLE_VIDEOS, measure_reading, of_all_sizes, sample_of_list

NUM_FRAMES = 24


def config_of(root: Path, tmp_path: Path, **changes: object) -> DataConfig:
    return DataConfig.model_validate(
        {
            "root": root,
            "train": "folders",
            "val_fraction": 0.0,
            "scan_cache": tmp_path / "scan",
            "sampling": {"num_frames": 4},
            "views": {"teacher": {"size": 48, "antialias": False}, "student": {"size": 32, "antialias": False}},
            **changes,
        }
    )


@pytest.fixture
def videos(make_folder: Callable[..., Path]) -> Path:
    return make_folder({"left": ["libx264"] * 9, "right": ["libx264"] * 8 + ["mjpeg"]}, num_frames=NUM_FRAMES)


def test_a_sample_is_scanned_and_read(videos: Path, tmp_path: Path) -> None:
    config = config_of(videos, tmp_path)
    sample = sample_of_list(config, tmp_path, seed=1)
    assert len(sample) == SAMPLE_VIDEOS and sample.class_names == ("left", "right")
    cost = measure_reading(sample, config, DecoderRule("cpu"), seed=1)
    assert cost.num_clips == SAMPLE_VIDEOS and cost.pyav_share == 1.0 and cost.megapixels_by_dali == {}
    assert 0 < cost.cpu_seconds < 1
    # A keyframe every 12 frames: more than the wanted ones, and not all.
    assert cost.frames_used == 4 < cost.frames_decoded < NUM_FRAMES
    assert 4 <= cost.frames_after_transcoding < cost.frames_decoded
    whole = config_of(videos, tmp_path, loader={"sparse_decode": False})
    assert measure_reading(sample, whole, DecoderRule("cpu"), seed=1).frames_decoded > cost.frames_decoded


def test_a_sample_has_files_of_all_sizes(tmp_path: Path) -> None:
    """Of 64 files with sizes 1 to 64, those in the middle of 16 equal parts of the ranks."""
    for number in range(64):
        (tmp_path / f"{number * 37 % 64:02d}.mp4").write_bytes(b"x" * (number + 1))
    paths = sorted(path.relative_to(tmp_path) for path in tmp_path.iterdir())
    chosen = of_all_sizes(tmp_path, paths, SAMPLE_VIDEOS)
    assert [(tmp_path / path).stat().st_size for path in chosen] == list(range(3, 64, 4))


def test_bytes_read_are_those_of_the_packets(videos: Path, tmp_path: Path) -> None:
    config = config_of(videos, tmp_path)
    sample = sample_of_list(config, tmp_path, seed=1)
    some = measure_reading(sample, config, DecoderRule("cpu"), seed=1)
    whole = config_of(videos, tmp_path, loader={"sparse_decode": False})
    all_up_to_the_last = measure_reading(sample, whole, DecoderRule("cpu"), seed=1)
    mean_kib = sum(path.stat().st_size for path in videos.rglob("*.*")) / 18 / 1024
    assert 0 < some.kib < all_up_to_the_last.kib <= 1.2 * mean_kib


def test_what_dali_decodes_is_counted_in_megapixels(videos: Path, tmp_path: Path) -> None:
    config = config_of(videos, tmp_path)
    sample = sample_of_list(config, tmp_path, seed=1)
    cost = measure_reading(sample, config, DecoderRule("cuda", "auto", Nvdec()), seed=1)
    assert set(cost.megapixels_by_dali) == {"h264"} and cost.pyav_share < 0.2
    by_dali = cost.frames_decoded * (1 - cost.pyav_share)
    assert cost.megapixels_by_dali["h264"] == pytest.approx(by_dali * 128 * 96 / 1e6, rel=0.1)


def test_it_ends_in_time_and_leaves_out_what_cannot_be_read(videos: Path, tmp_path: Path) -> None:
    config = config_of(videos, tmp_path)
    sample = sample_of_list(config, tmp_path, seed=1)
    assert measure_reading(sample, config, DecoderRule("cpu"), seed=1, most_seconds=0.0).num_clips == 1
    gone = replace(sample, root=tmp_path / "nowhere")
    with pytest.raises(ValueError, match="expected a clip that can be read, found none"):
        measure_reading(gone, config, DecoderRule("cpu"), seed=1)


def test_other_storage_has_no_sample(tmp_path: Path) -> None:
    config = config_of(tmp_path, tmp_path, storage={"kind": "frames"})
    with pytest.raises(ValueError, match="a part of the list is taken of video files only"):
        sample_of_list(config, tmp_path, seed=1)
