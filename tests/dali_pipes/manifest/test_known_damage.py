from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dali_pipes.config import DataConfig
from dali_pipes.manifest.build import build_manifests
from dali_pipes.manifest.known_damage import known_damage
from tests.conftest import numbered_clip


def test_damaged_files_are_known_after_a_scan_until_they_change(
    tmp_path: Path, make_folder: Callable[..., Path]
) -> None:
    root = make_folder({"left": ["libx264"] * 2, "right": ["libx264"] * 2}, num_frames=8)
    broken = root / "left/broken.mp4"
    broken.write_bytes(b"no video")
    config = DataConfig(
        root=root, train="folders", val_fraction=0, scan_cache=tmp_path / "scan",
        views={"student": {"size": 32, "source": "decoded"}},
    )  # fmt: skip
    assert known_damage(config) == {}
    build_manifests(config, seed=0, splits=("train",))
    assert list(known_damage(config)) == ["left/broken.mp4"]
    assert known_damage(config)["left/broken.mp4"].startswith("bad: ")
    broken.write_bytes(b"another file")
    assert known_damage(config) == {}
    broken.unlink()
    assert known_damage(config) == {}


def test_damage_is_known_where_another_root_with_equal_names_was_scanned_later(tmp_path: Path) -> None:
    configs = []
    for name in ("broken", "good"):
        root = tmp_path / name
        (root / "left").mkdir(parents=True)
        numbered_clip(root / "left/0.mp4", "libx264", 4)
        numbered_clip(root / "left/1.mp4", "libx264", 4)
        views = {"student": {"size": 32, "source": "decoded"}}
        configs.append(
            DataConfig(root=root, train="folders", val_fraction=0, scan_cache=tmp_path / "scan", views=views)
        )
    (tmp_path / "broken/left/1.mp4").write_bytes(b"no video")
    for config in configs:
        build_manifests(config, seed=0, splits=("train",))
    assert list(known_damage(configs[0])) == ["left/1.mp4"] and known_damage(configs[1]) == {}
