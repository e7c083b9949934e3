"""data.split_seed: the split of a run with another seed."""

from __future__ import annotations

from pathlib import Path

from dali_pipes.config import DataConfig
from dali_pipes.manifest.cache import table_key
from dali_pipes.manifest.splits import videos_of_splits
from reskd.training.run_directory import config_hash


def _config(root: Path, **changes: object) -> DataConfig:
    settings = {"root": root, "train": "folders", "test_fraction": 0.3, "val_fraction": 0.3}
    return DataConfig.model_validate({**settings, "views": {"student": {"size": 32, "source": "decoded"}}, **changes})


def test_the_seed_of_a_run_leaves_a_split_with_a_seed_of_its_own(tmp_path: Path) -> None:
    for label in ("left", "right"):
        (tmp_path / label).mkdir()
        for number in range(20):
            (tmp_path / label / f"{number}.mp4").write_bytes(b"%d" % number * 9 + label.encode())

    def split(seed: int, **changes: object) -> dict[str, list[str]]:
        config = _config(tmp_path, **changes)
        _, videos = videos_of_splits(config, seed, ("train", "val", "test"), lambda message: None, compare=False)
        return {name: [video.path for video in found] for name, found in videos.items()}

    assert split(1)["test"] != split(2)["test"]
    assert split(2, split_seed=1) == split(1) == split(1, split_seed=None)
    assert split(1, split_seed=2) == split(2)
    keys = {table_key(_config(tmp_path, split_seed=5), seed=seed, splits=("train",)) for seed in (1, 2)}
    assert len(keys) == 1


def test_a_config_without_it_keeps_its_hash(tmp_path: Path) -> None:
    resolved = {"data": _config(tmp_path).model_dump(mode="json")}
    before = {"data": {key: value for key, value in resolved["data"].items() if key != "split_seed"}}
    assert config_hash(resolved) == config_hash(before)
    other = {"data": _config(tmp_path, split_seed=1).model_dump(mode="json")}
    assert config_hash(resolved) != config_hash(other)
