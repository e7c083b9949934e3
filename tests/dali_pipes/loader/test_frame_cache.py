from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dali_pipes.config import DataConfig
from dali_pipes.loader import frame_cache
from dali_pipes.loader.clip_reader import CACHED, Clip, ClipReader
from dali_pipes.loader.decoder_choice import BY_PYAV
from dali_pipes.loader.external_source import ClipChooser
from dali_pipes.loader.frame_cache import FrameCache
from dali_pipes.manifest.build import build_manifests
from dali_pipes.manifest.manifest import Manifest
from dali_pipes.sampling.order import ReadingOrder
from dali_pipes.sampling.spec import rules_for_views
from tests.conftest import SHARED_DATA, numbered_clip, set_display_rotation
from tests.dali_pipes.loaders import clip_loader
from tests.dali_pipes.storage.stored_clips import make_config, write_frames, write_tar

ODD = SHARED_DATA / "odd"
FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    "untagged": ("libx264", {}),
    "bt709": ("libx264", {"bt709": True}),
    "full range": ("mjpeg", {}),
    "4:4:4": ("libx264", {"pix_fmt": "yuv444p"}),
    "ten bits": ("libx264", {"pix_fmt": "yuv420p10le"}),
    "odd size": ("libx264", {"pix_fmt": "yuv444p", "height": 97, "width": 131}),
    "narrow": ("libx264", {"height": 66, "width": 50}),
    "interlaced": ("libx264", {"options": {"flags": "+ildct+ilme"}}),
}


def _manifest(config: DataConfig) -> Manifest:
    return build_manifests(config, seed=0, splits=("train",))["train"]


def _listed(root: Path, names: list[str], store: Path) -> DataConfig:
    (store / "list.csv").write_text("path,label\n" + "".join(f"{name},x\n" for name in names))
    return make_config(root, storage={"kind": "videos"}, train=str(store / "list.csv")).model_copy(
        update={"scan_cache": store}
    )


def _clips(config: DataConfig, manifest: Manifest, cache: FrameCache | None, num_positions: int) -> list[Clip]:
    order = ReadingOrder(mode="train", batch_size=1, seed=3)
    rules = rules_for_views(config, ("student",), mode="train", test_views=order.test_views)
    chooser, reader = ClipChooser(manifest, rules, order), ClipReader(BY_PYAV, cache=cache)
    plans = [chooser.plan(position, 0) for position in range(num_positions)]
    return [reader.read(plan, manifest.row(plan.row)) for plan in plans]


def _assert_same_pixels(config: DataConfig, folder: Path, *, epochs: int = 2) -> FrameCache:
    manifest, cache = _manifest(config), FrameCache(folder)
    expected = _clips(config, manifest, None, epochs * len(manifest))
    found = _clips(config, manifest, cache, epochs * len(manifest))
    for one, other in zip(expected, found, strict=True):
        assert np.array_equal(one.raw_THWC, other.raw_THWC)
        assert other.how == CACHED
    return cache


@pytest.mark.parametrize("name", FORMATS)
def test_pixels_are_those_of_a_decode(name: str, tmp_path: Path) -> None:
    codec, options = FORMATS[name]
    suffix = ".avi" if codec == "mjpeg" else ".mp4"
    numbered_clip(tmp_path / f"video{suffix}", codec, 12, **options)
    config = _listed(tmp_path, [f"video{suffix}"], tmp_path)
    cache = _assert_same_pixels(config, tmp_path / "frames", epochs=8)
    (file,) = cache.folder.iterdir()
    is_planar = name in ("untagged", "bt709", "full range", "narrow", "interlaced")
    assert np.load(file).ndim == (3 if is_planar else 4)


def test_a_rotated_video_is_kept_as_stored_and_shown_upright(tmp_path: Path) -> None:
    path = numbered_clip(tmp_path / "video.mp4", "libx264", 12)
    set_display_rotation(path, quarter_turns_clockwise=1)
    _assert_same_pixels(_listed(tmp_path, ["video.mp4"], tmp_path), tmp_path / "frames", epochs=4)


@pytest.mark.skipif(not ODD.is_dir(), reason=f"{ODD} is not here")
def test_odd_files_have_the_same_pixels(tmp_path: Path) -> None:
    names = [path.name for path in sorted(ODD.iterdir()) if path.stat().st_size < 2_000_000]
    config = _listed(ODD, names, tmp_path)
    manifest = _manifest(config)
    small = [row for row in map(manifest.row, range(len(manifest))) if row.video_info.num_frames <= 400]
    config = _listed(ODD, [row.path.name for row in small], tmp_path)
    assert len(small) > 10
    _assert_same_pixels(config, tmp_path / "frames")


@pytest.mark.parametrize("kind", ["shards", "frames"])
def test_shards_and_folders_of_frames_are_kept_too(kind: str, tmp_path: Path) -> None:
    if kind == "frames":
        write_frames(tmp_path / "a" / "0", 8, first=1)
        write_frames(tmp_path / "b" / "1", 9, first=0)
        config = make_config(tmp_path, storage={"kind": "frames"}, train="folders")
    else:
        clip = numbered_clip(tmp_path / "clip.mp4", "libx264", 9)
        write_tar(tmp_path / "train-0.tar", {"x.mp4": clip.read_bytes(), "x.cls": b"0"})
        config = make_config(tmp_path, storage={"kind": "shards"}, train="train-{0..0}.tar")
    _assert_same_pixels(config, tmp_path / "frames", epochs=3)


def test_files_that_are_there_are_not_decoded_again_and_truncated_ones_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbered_clip(tmp_path / "video.mp4", "libx264", 12)
    config = _listed(tmp_path, ["video.mp4"], tmp_path)
    cache, manifest = _assert_same_pixels(config, tmp_path / "frames"), _manifest(config)
    written: list[Path] = []
    write = frame_cache._write
    monkeypatch.setattr(frame_cache, "_write", lambda path, *rest: (written.append(path), write(path, *rest)))
    assert cache.missing(manifest) == (0, 0)
    _clips(config, manifest, cache, 2)
    assert not written
    (file,) = cache.folder.iterdir()
    os.truncate(file, file.stat().st_size - 1)
    _assert_same_pixels(config, cache.folder)
    assert written == [file]


def test_a_video_that_changed_is_refused_and_once_scanned_again_decoded_again(tmp_path: Path) -> None:
    path = numbered_clip(tmp_path / "video.mp4", "libx264", 12)
    config = _listed(tmp_path, ["video.mp4"], tmp_path)
    cache, manifest = _assert_same_pixels(config, tmp_path / "frames"), _manifest(config)
    numbered_clip(path, "libx264", 11)
    with pytest.raises(ValueError, match="it was changed after the scan"):
        _clips(config, manifest, cache, 1)
    _assert_same_pixels(config, cache.folder)
    assert len(list(cache.folder.iterdir())) == 2


def test_without_room_clips_are_decoded_as_if_there_were_no_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*rest: Any, **named: Any) -> None:
        raise frame_cache.DiskFullError("full")

    numbered_clip(tmp_path / "video.mp4", "libx264", 12)
    config = _listed(tmp_path, ["video.mp4"], tmp_path)
    manifest = _manifest(config)
    expected = _clips(config, manifest, None, 2)
    monkeypatch.setattr(frame_cache, "atomic_open", full)
    found = _clips(config, manifest, FrameCache(tmp_path / "frames"), 2)
    assert all(np.array_equal(one.raw_THWC, other.raw_THWC) for one, other in zip(expected, found, strict=True))
    assert CACHED not in {clip.how for clip in found}


def test_a_video_with_fewer_frames_than_packets_is_read_as_without_a_cache(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "video.mp4", "libx264", 12)
    config = _listed(tmp_path, ["video.mp4"], tmp_path)
    manifest = _manifest(config)
    manifest.rows["num_frames"] = 13  # as an index-only scan may count
    order = ReadingOrder(mode="eval", batch_size=1)
    rules = rules_for_views(config, ("student",), mode="eval", test_views=order.test_views)
    plan, row = ClipChooser(manifest, rules, order).plan(0, 0), manifest.row(0)
    clips = [ClipReader(BY_PYAV, cache=cache).read(plan, row) for cache in (None, FrameCache(tmp_path / "frames"))]
    assert np.array_equal(clips[0].raw_THWC, clips[1].raw_THWC)
    assert not list((tmp_path / "frames").iterdir())


@pytest.mark.parametrize("kept", ["disk", "ram"])
def test_batches_of_a_loader_are_the_same(kept: str, make_folder: Callable[..., Path], tmp_path: Path) -> None:
    pytest.importorskip("nvidia.dali")
    root = make_folder({"h264": ["libx264", "libx264"], "webm": ["libvpx-vp9"]})
    config = make_config(root, storage={"kind": "videos"}, train="folders")
    cached = config.model_copy(update={"cache": kept, "cache_folder": tmp_path / "frames" if kept == "disk" else None})
    manifest = _manifest(config)
    options: dict[str, Any] = {"views": ("teacher", "student"), "mode": "train", "batch_size": 3}
    batches = []
    for each in (config, cached):
        with closing(clip_loader(manifest, each, **options)) as loader:
            batches.append(list(itertools.islice(loader, 3)))
            reading = loader.describe_reading()
    assert "decoded frames are kept in" in reading
    for one, other in zip(*batches, strict=True):
        assert all(torch.equal(view.data_NTHWC, other.views[name].data_NTHWC) for name, view in one.views.items())
    if kept == "disk":
        assert len(list((tmp_path / "frames").iterdir())) == 3
