from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from dali_pipes.config import DataConfig
from dali_pipes.manifest.build import build_manifests
from dali_pipes.manifest.named_damage import NamedDamage
from tests.conftest import numbered_clip


@pytest.fixture
def folders(tmp_path: Path) -> DataConfig:
    """Two classes as folders, one with a file that is no video; manifests of folders are built at each start."""
    for name in ("a/0.mp4", "a/1.mp4", "b/0.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        numbered_clip(tmp_path / name, "libx264", 5)
    (tmp_path / "b" / "1.mp4").write_text("no video")
    views = {"student": {"size": 32, "source": "decoded"}}
    return DataConfig(root=tmp_path, train="folders", val_fraction=0, views=views)


def _named(config: DataConfig, **options: Any) -> list[str]:
    """The files that a start names, and how many it counts."""
    said: list[str] = []
    build_manifests(config, seed=0, **{"splits": ("train",), **options}, on_message=said.append)
    names = [message.split(": ")[1] for message in said if ": bad: " in message or ": cut: " in message]
    return names + [message.split(" files")[0] for message in said if "are damaged" in message]


def test_a_damaged_file_is_named_once_and_then_counted(folders: DataConfig) -> None:
    assert _named(folders) == ["b/1.mp4", "train: 1 of 4"]
    assert _named(folders) == ["train: 1 of 4"]
    # Other settings make other manifests of the same files.
    assert _named(folders.model_copy(update={"allow_shared_videos": True})) == ["train: 1 of 4"]


def test_only_what_is_new_is_named(folders: DataConfig) -> None:
    _named(folders)
    (folders.root / "a" / "2.mp4").write_bytes(b"")
    assert _named(folders) == ["a/2.mp4", "train: 2 of 5"]
    (folders.root / "a" / "2.mp4").write_text("damaged in another way")
    assert _named(folders) == ["a/2.mp4", "train: 2 of 5"]


def test_what_nobody_hears_is_not_named(folders: DataConfig) -> None:
    build_manifests(folders, seed=0, splits=("train",))
    assert _named(folders) == ["b/1.mp4", "train: 1 of 4"]


@pytest.mark.parametrize("damage", [b"", b"[1]", b"{", b"\xff"])
def test_a_damaged_record_names_all_again(folders: DataConfig, damage: bytes) -> None:
    _named(folders)
    (folders.root / ".reskd_scan" / "named_damage.json").write_bytes(damage)
    assert _named(folders) == ["b/1.mp4", "train: 1 of 4"]


def test_names_of_any_bytes_are_kept(tmp_path: Path) -> None:
    name = "b\udcff.mp4"
    assert NamedDamage(tmp_path).take_new({name: "bad: empty", "a.mp4": "ok"}) == {name: "bad: empty"}
    assert NamedDamage(tmp_path).take_new({name: "bad: empty"}) == {}


def test_a_store_that_cannot_be_written_names_each_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for _ in range(2):
        assert NamedDamage(tmp_path / "file" / "store").take_new({"a": "bad: empty"}) == {"a": "bad: empty"}
    shutil.rmtree(tmp_path)
