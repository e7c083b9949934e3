"""Features of a folder of videos: records that can be read, whole files or none, the same bytes after a stop."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from dali_pipes.config import DataConfig, StudentViewConfig, ViewsConfig
from dali_pipes.features.config import FeatureDataConfig
from dali_pipes.features.sequence_example import frames_of, parse_context, parse_lists
from dali_pipes.features.tfrecord import FOOTER_BYTES, HEADER_BYTES, read_record, record_locations
from reskd.experiment.config import parse_config
from reskd.feature_extraction.job import Job, Sampling, VideoLists, plan, run
from reskd.feature_extraction.network import FrameNetwork, network_of_run, network_of_settings
from reskd.feature_extraction.summary import config_lines, finish
from reskd.models.config import parse_recognizer
from reskd.models.families.registry import build_recognizer
from tests.reskd import feature_files
from tests.tiny_student import write_checkpoint

MakeFolder = Callable[..., Path]
CPU = torch.device("cpu")
CLASSES = {"a": ["libx264"] * 3, "b": ["mpeg4"] * 2}


def here(work: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    """An engine without processes."""
    return ((item, work(item)) for item in items)


@dataclass
class Stopping:
    """An engine that is killed after so many items."""

    after: int

    def __call__(self, work: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
        for number, item in enumerate(items):
            if number == self.after:
                raise KeyboardInterrupt
            yield item, work(item)


@pytest.fixture(scope="module")
def network() -> FrameNetwork:
    config = parse_recognizer({"backbone": "resnet18", "weights": "none"})
    return network_of_settings(config, size=(32, 32), seed=1, device=CPU)


@pytest.fixture
def data(make_folder: MakeFolder, tmp_path: Path) -> DataConfig:
    views = ViewsConfig(student=StudentViewConfig(size=(32, 32), source="decoded"))
    root = make_folder(CLASSES, num_frames=12)
    return DataConfig(root=root, train="folders", val_fraction=0, scan_cache=tmp_path / "scan", views=views)


def make(data: DataConfig, folder: Path, network: FrameNetwork, **settings: Any) -> Job:
    shard = settings.pop("shard", (1, 1))
    sampling = Sampling(**{"fps": 5.0, "videos_per_file": 2, **settings})
    return plan(VideoLists.read(data, seed=1), folder, network, sampling, shard=shard)


def read_back(path: Path, dim: int) -> list[tuple[str, tuple[int, ...], np.ndarray]]:
    found = []
    file = os.open(path, os.O_RDONLY)
    try:
        for location in record_locations(file):
            record = read_record(file, location)
            start, stop = HEADER_BYTES, len(record) - FOOTER_BYTES
            context = parse_context(record, start, stop)
            frames = frames_of(parse_lists(record, start, stop)["rgb"], "rgb", dim)
            found.append((context.video_id, context.labels, np.array(frames)))
    finally:
        os.close(file)
    return found


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_every_video_becomes_a_record_of_its_frames(data: DataConfig, network: FrameNetwork, tmp_path: Path) -> None:
    job = make(data, tmp_path / "out", network)
    run(job, engine=here)
    lines = "\n".join(finish(job))
    records = [one for number in range(3) for one in read_back(tmp_path / f"out/train-{number:05d}.tfrecord", 512)]
    assert [(name, labels) for name, labels, _ in records] == [
        ("a/00.mp4", (0,)), ("a/01.mp4", (0,)), ("a/02.mp4", (0,)), ("b/00.avi", (1,)), ("b/01.avi", (1,)),
    ]  # fmt: skip
    assert all(frames.shape == (3, 512) for _, _, frames in records)  # 12 frames at 25 a second, 5 a second taken
    assert not (records[0][2][0] == records[0][2][2]).all()
    assert "train: 5 videos, 15 frames, 0 videos left out, 0 cut; " in lines
    measured = json.loads((tmp_path / "out/features.json").read_text())["measured"]["train"]
    assert 0 < measured["mean_quantisation_error"] <= measured["max_quantisation_error"] < 0.03


def test_the_config_that_is_printed_is_one(data: DataConfig, network: FrameNetwork, tmp_path: Path) -> None:
    job = make(data, tmp_path / "out", network)
    run(job, engine=here)
    finish(job)
    config = FeatureDataConfig.model_validate(yaml.safe_load(config_lines(job, ["train"]))["data"])
    assert config.feature_dim == 512
    assert len(list(config.root.glob(config.train))) == 3


def test_a_job_that_was_stopped_goes_on_to_the_same_bytes(
    data: DataConfig, network: FrameNetwork, tmp_path: Path
) -> None:
    whole, stopped = make(data, tmp_path / "whole", network), make(data, tmp_path / "stopped", network)
    run(whole, engine=here)
    with pytest.raises(KeyboardInterrupt):
        run(stopped, engine=Stopping(3))
    assert [path.name for path in sorted((tmp_path / "stopped").glob("*.tfrecord"))] == ["train-00000.tfrecord"]
    assert len(stopped.todo) == 2
    run(make(data, tmp_path / "stopped", network), engine=here)
    for job in (whole, stopped):
        finish(job)
    assert files_in(tmp_path / "whole") == files_in(tmp_path / "stopped")


def test_shards_make_the_files_of_one_job_together(data: DataConfig, network: FrameNetwork, tmp_path: Path) -> None:
    whole = make(data, tmp_path / "whole", network)
    run(whole, engine=here)
    finish(whole)
    for shard in ((1, 2), (2, 2)):
        job = make(data, tmp_path / "parts", network, shard=shard)
        run(job, engine=here)
        lines = finish(job)
        assert ("left to other shards" in lines[0]) == (shard == (1, 2))
    assert files_in(tmp_path / "whole") == files_in(tmp_path / "parts")


def test_other_settings_are_not_mixed_into_a_folder(data: DataConfig, network: FrameNetwork, tmp_path: Path) -> None:
    make(data, tmp_path / "out", network)
    with pytest.raises(ValueError, match=r"frames_a_second was 5.0, now it is 1.0"):
        make(data, tmp_path / "out", network, fps=1.0)
    other = network_of_settings(network.model.config, size=(32, 32), seed=2, device=CPU)
    with pytest.raises(ValueError, match="weights_sha256 was"):
        make(data, tmp_path / "out", other)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/note.txt").touch()
    with pytest.raises(ValueError, match=r"expected an empty folder or one with features.json"):
        make(data, tmp_path / "full", network)


def test_bad_videos_are_named_and_left_out(data: DataConfig, network: FrameNetwork, tmp_path: Path) -> None:
    root = tmp_path / "videos"
    for name in ("a/good.mp4", "a/empty.mp4", "b/good.avi"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        source = data.root / ("a/00.mp4" if name.startswith("a") else "b/00.avi")
        (root / name).write_bytes(b"" if "empty" in name else source.read_bytes())
    job = make(data.model_copy(update={"root": root}), tmp_path / "out", network)
    run(job, engine=here)
    assert "left out: a/empty.mp4: the file is empty" in finish(job)
    with (tmp_path / "out/left_out.csv").open() as file:
        assert [(row["path"], row["reason"]) for row in csv.DictReader(file)] == [("a/empty.mp4", "the file is empty")]
    assert [name for name, _, _ in read_back(tmp_path / "out/train-00000.tfrecord", 512)] == ["a/good.mp4"]


def test_a_video_that_is_cut_is_used_and_named(data: DataConfig, network: FrameNetwork, tmp_path: Path) -> None:
    root = tmp_path / "videos"
    for name in ("a/00.mp4", "b/00.avi"):
        (root / name).parent.mkdir(parents=True)
        (root / name).write_bytes((data.root / name).read_bytes())
    whole = (root / "b/00.avi").read_bytes()
    (root / "b/00.avi").write_bytes(whole[: whole.index(b"idx1") * 9 // 10])
    job = make(data.model_copy(update={"root": root}), tmp_path / "out", network)
    run(job, engine=here)
    lines = finish(job)
    assert "2 videos" in lines[0] and "0 videos left out, 1 cut" in lines[0]
    assert lines[1].startswith("b/00.avi: cut: ")
    with (tmp_path / "out/train-00000.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["reason"] == "" and rows[1]["reason"].startswith("cut: ") and int(rows[1]["num_frames"]) in (1, 2)


def test_the_config_names_no_split_without_a_video_and_quotes_its_root(
    data: DataConfig, network: FrameNetwork, tmp_path: Path
) -> None:
    for name in ("a/00.mp4", "a/01.mp4"):
        (tmp_path / "videos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "videos" / name).write_bytes((data.root / name).read_bytes() if "00" in name else b"")
    (tmp_path / "videos/train.csv").write_text("path,label\na/00.mp4,a\n")
    (tmp_path / "videos/test.csv").write_text("path,label\na/01.mp4,a\n")
    changes = {"root": tmp_path / "videos", "train": "train.csv", "test": "test.csv"}
    job = make(DataConfig.model_validate(data.model_dump() | changes), tmp_path / "out: a #b", network)
    run(job, engine=here)
    printed = yaml.safe_load(finish(job)[-1].partition("for a config:\n")[2])["data"]
    assert printed["root"] == str(tmp_path / "out: a #b")
    assert printed["train"] == "train-*.tfrecord" and "test" not in printed


def test_a_decoder_that_dies_costs_its_video_alone(
    data: DataConfig, network: FrameNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make(data, tmp_path / "out", network)
    run(job, engine=here)  # the scan is done
    for path in (tmp_path / "out").glob("train-00000.*"):
        path.unlink()

    def dying(work: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
        return ((item, None if item.location == 1 else work(item)) for item in items)

    run(job, engine=dying)
    assert [name for name, _, _ in read_back(tmp_path / "out/train-00000.tfrecord", 512)] == ["a/00.mp4"]
    assert "the decoder's process died" in (tmp_path / "out/train-00000.csv").read_text()


def test_weights_that_give_no_numbers_stop_the_job(data: DataConfig, tmp_path: Path) -> None:
    config = parse_recognizer({"backbone": "resnet18", "weights": "none"})
    network = network_of_settings(config, size=(32, 32), seed=1, device=CPU)
    with torch.no_grad():
        next(network.model.backbone.parameters()).fill_(float("nan"))
    with pytest.raises(ValueError, match="expected finite features, found NaN"):
        run(make(data, tmp_path / "out", network), engine=here)
    assert not list((tmp_path / "out").glob("*.tfrecord"))


def test_a_run_gives_its_student_its_view_and_its_data(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "last.pt")
    found, data, seed = network_of_run(checkpoint, which="student", device=CPU)
    assert (found.render.student_size, str(data.root), seed) == ((40, 40), "nowhere", 1)
    features_TD = found.features(np.zeros((3, 40, 40, 3), np.uint8))
    assert features_TD.shape == (3, 512)
    with pytest.raises(ValueError, match="the config has no teacher to evaluate"):
        network_of_run(checkpoint, which="teacher", device=CPU)


def test_a_network_that_mixes_frames_is_refused(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "last.pt", student={"family": "tsm"})
    with pytest.raises(ValueError, match="sees every frame by itself .* found tsm: its map of a frame depends"):
        network_of_run(checkpoint, which="student", device=CPU)


def test_a_network_of_features_is_refused_by_its_own_reason(tmp_path: Path) -> None:
    config = parse_config(feature_files.experiment(tmp_path, tmp_path))
    names = [str(number) for number in range(feature_files.NUM_CLASSES)]
    weights = build_recognizer(config.student, len(names)).state_dict()
    state = {"config": config.resolved(), "student": weights, "class_names": names}
    checkpoint = write_checkpoint(tmp_path / "last.pt", state=state)
    with pytest.raises(ValueError, match=r"expected a network that takes images, found one that takes features"):
        network_of_run(checkpoint, which="student", device=CPU)


def test_features_of_a_frame_are_the_mean_of_its_map(network: FrameNetwork) -> None:
    frames_THWC = np.random.default_rng(0).integers(0, 256, (70, 32, 32, 3), np.uint8)  # more than one batch
    found_TD = network.features(frames_THWC)
    with torch.no_grad():
        maps_NTDHW = network.model(torch.from_numpy(frames_THWC[None])).features_NTDHW
    assert maps_NTDHW is not None
    assert found_TD == pytest.approx(maps_NTDHW[0].mean((2, 3)).numpy(), rel=1e-3, abs=1e-5)
