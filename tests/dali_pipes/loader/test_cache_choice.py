from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dali_pipes.config import DataConfig
from dali_pipes.loader import cache_choice
from dali_pipes.manifest.build import build_manifests
from dali_pipes.manifest.manifest import Manifest
from tests.conftest import numbered_clip

VIEWS = {"student": {"size": 32, "source": "decoded"}}


@pytest.fixture
def config(tmp_path: Path) -> DataConfig:
    numbered_clip(tmp_path / "video.mp4", "libx264", 12)
    (tmp_path / "list.csv").write_text("path,label\nvideo.mp4,x\n")
    return DataConfig(root=tmp_path, train="list.csv", views=VIEWS, scan_cache=tmp_path / "scan", val_fraction=0.0)


def _manifest(config: DataConfig) -> Manifest:
    return build_manifests(config, seed=0, splits=("train",))["train"]


@pytest.mark.usefixtures("config")
def test_frames_in_shared_memory_are_removed_when_the_process_ends(tmp_path: Path) -> None:
    if not cache_choice.SHARED_MEMORY.is_dir():
        pytest.skip("no shared memory here")
    code = (
        "import sys; from pathlib import Path; from dali_pipes.loader.cache_choice import open_cache; "
        "from dali_pipes.manifest.build import build_manifests; from dali_pipes.config import DataConfig; "
        "root = Path(sys.argv[1]); views = {'student': {'size': 32, 'source': 'decoded'}}; "
        "config = DataConfig(root=root, train='list.csv', views=views, cache='ram', val_fraction=0.0); "
        "manifest = build_manifests(config, seed=0, splits=('train',))['train']; "
        "cache = open_cache(config, manifest, {'pyav'}); cache.folder.mkdir(); print(cache.folder)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    folder = Path(done.stdout.strip())
    assert folder.is_relative_to(cache_choice.SHARED_MEMORY)
    assert not folder.exists()


def test_too_little_room_is_refused_with_the_sizes(
    config: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config.model_copy(update={"cache": "disk"})
    manifest = _manifest(config)
    found = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: found._replace(free=1000))
    with pytest.raises(ValueError, match=r"expected room for .* found 0\.0 GiB; name another data\.cache_folder"):
        cache_choice.open_cache(config, manifest, {"pyav"})


def test_the_size_is_said_before_the_first_frame_is_written(
    config: DataConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = config.model_copy(update={"cache": "disk"})
    manifest = _manifest(config)
    row = manifest.row(0).video_info
    mib = 1.5 * row.num_frames * row.width * row.height / 2**20
    with caplog.at_level(logging.INFO):
        cache = cache_choice.open_cache(config, manifest, {"pyav"})
    assert cache is not None and not cache.folder.exists()
    (said,) = caplog.messages
    assert said.startswith(f"data.cache = disk: the decoded frames of 1 videos will take {mib:.1f} MiB of ")
    assert said.endswith(f" free in {tmp_path / 'scan' / 'frames'}, written as clips of them are first read")
    cache.folder.mkdir()
    cache.path_of(manifest.row(0)).touch()
    caplog.clear()
    cache_choice.open_cache(config, manifest, {"pyav"})
    assert caplog.messages == []  # nothing is missing


def test_frames_that_dali_is_to_decode_are_refused(config: DataConfig, tmp_path: Path) -> None:
    config = config.model_copy(update={"cache": "disk"})
    with pytest.raises(ValueError, match=r"set data\.loader\.decoder=pyav"):
        cache_choice.open_cache(config, _manifest(config), {"pyav", "dali"})
    with pytest.raises(ValueError, match=r"expected loader\.decoder = pyav, found prefer_dali"):
        DataConfig(root=tmp_path, train="folders", cache="ram", views=VIEWS, loader={"decoder": "prefer_dali"})
    with pytest.raises(ValueError, match="cache_folder is the folder of cache = disk"):
        DataConfig(root=tmp_path, train="folders", cache_folder=tmp_path, views=VIEWS)
