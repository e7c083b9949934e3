"""Turned and mirrored pictures, pixels that are not square and files of several streams, through the whole loader."""

from __future__ import annotations

from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dali_pipes.config import DataConfig, StudentViewConfig, ViewsConfig
from dali_pipes.loader.cpu_render import render_plan
from dali_pipes.loader.whole_video import TimedReader
from dali_pipes.manifest.build import build_manifests
from dali_pipes.manifest.manifest import Manifest
from dali_pipes.sampling.spec import rules_from_config
from dali_pipes.sampling_config import SamplingConfig
from dali_pipes.transcode.encode import OutputSettings, reencode
from tests.dali_pipes.decode.test_stream_choice import write_streams
from tests.dali_pipes.loaders import clip_loader
from tests.dali_pipes.shown_pictures import ORIENTATIONS, Storing, what_is_wrong, write_shown

WIDE = Fraction(4, 3)


def config_of(root: Path, **changes: Any) -> DataConfig:
    loader = {"num_workers": 1, "num_threads": 1, **changes.pop("loader", {})}
    return DataConfig.model_validate(
        {
            "root": root,
            "train": "folders",
            "val_fraction": 0,
            "scan_cache": root.parent / "store",
            "sampling": {"num_frames": 2, "test_crop_ratio": 1.0},
            "views": {"teacher": {"size": 64}, "student": {"size": 40, "source": "decoded"}},
            "loader": loader,
            **changes,
        }
    )


def manifest_of(config: DataConfig) -> Manifest:
    return build_manifests(config, seed=0, splits=("train",))["train"]


def views_of(config: DataConfig) -> dict[str, dict[str, np.ndarray]]:
    """Name of the file -> view -> its last frame."""
    manifest = manifest_of(config)
    options = {"views": ("teacher", "student"), "mode": "eval", "batch_size": len(manifest)}
    with closing(clip_loader(manifest, config, **options)) as loader:
        (batch,) = loader
    assert not batch.substituted_N.any()
    return {
        Path(manifest.path(row)).name: {name: view.data[row, -1].numpy() for name, view in batch.views.items()}
        for row in range(len(manifest))
    }


def wrong_ones(views: dict[str, dict[str, np.ndarray]]) -> dict[str, str]:
    found = {
        f"{file}, {name}": what_is_wrong(frame, tolerance=0.15)
        for file, both in views.items()
        for name, frame in both.items()
    }
    return {what: wrong for what, wrong in found.items() if wrong}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All orientations, each with one of two pixel aspects, and a file of two streams."""
    folder = tmp_path_factory.mktemp("pictures") / "data" / "class"
    folder.mkdir(parents=True)
    for number, (rotation, mirrored) in enumerate(ORIENTATIONS):
        for aspect in (WIDE, 1 / WIDE)[number % 2 :: 2]:
            write_shown(folder / f"{number}.mp4", Storing(96, 128, rotation, mirrored, aspect))
    write_shown(folder / "wide.mp4", Storing(96, 128, pixel_aspect=WIDE), encoder="libvpx-vp9")
    write_streams(folder / "two.avi", (Storing(48, 64), Storing(96, 128)))
    return folder.parent


@pytest.mark.parametrize("sparse", [True, False])
def test_every_file_is_shown_upright_and_undistorted(root: Path, sparse: bool) -> None:
    views = views_of(config_of(root, loader={"sparse_decode": sparse}))
    assert len(views) == len(ORIENTATIONS) + 2
    assert wrong_ones(views) == {}


def test_dali_s_pictures_have_the_same_shape(root: Path) -> None:
    by_dali = views_of(config_of(root, loader={"decoder": "prefer_dali"}))
    by_pyav = views_of(config_of(root, loader={"decoder": "pyav"}))
    assert wrong_ones(by_dali) == {}
    for name, frame in by_dali["wide.mp4"].items():
        assert np.abs(frame.astype(int) - by_pyav["wide.mp4"][name]).mean() < 2


def test_stored_pixels_are_taken_as_square_if_the_config_says_so(root: Path) -> None:
    for name, both in views_of(config_of(root, pixel_aspect="stored")).items():
        is_square = name == "two.avi"
        assert (what_is_wrong(both["teacher"]) == "") == is_square
        across, down = ((both["teacher"].min(2) > 190).any(axis).sum() for axis in (0, 1))
        shown_aspect = down / across  # of the disc
        turned = name[0].isdigit() and ORIENTATIONS[int(name[0])][0] % 180 != 0
        aspect = 1 / WIDE if name[0].isdigit() and int(name[0]) % 2 else WIDE
        expected = 1.0 if is_square else float(1 / aspect if turned else aspect)
        assert shown_aspect == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("setting", ["display", "stored"])
def test_transcoded_files_look_the_same_under_either_setting(setting: str, root: Path, tmp_path: Path) -> None:
    new = tmp_path / "new" / "class"
    new.mkdir(parents=True)
    for path in sorted((root / "class").iterdir()):
        options = OutputSettings(quality=10, pixel_aspect=setting)  # type: ignore[arg-type]
        assert reencode(path, new / f"{path.name}.mp4", options).status == "ok"
    before = views_of(config_of(root, pixel_aspect=setting))
    for read_as in ("display", "stored"):
        after = views_of(config_of(new.parent, pixel_aspect=read_as))
        for name, both in before.items():
            for view, frame in both.items():
                assert np.abs(frame.astype(int) - after[f"{name}.mp4"][view]).mean() < 9, (name, view)


def test_settings_of_a_transcode_are_told_apart_by_their_key() -> None:
    assert OutputSettings().key == "v2 h264 short side 256 by 16 gop 4 quality 20"
    assert OutputSettings(pixel_aspect="stored").key == "v2 h264 short side 256 by 16 gop 4 quality 20 stored pixels"


def test_whole_videos_are_read_upright_and_undistorted(root: Path) -> None:
    config = config_of(root)
    render = render_plan(ViewsConfig(student=StudentViewConfig(size=48, source="decoded")), ("student",))
    assert render is not None
    rules = rules_from_config(SamplingConfig(test_crop_ratio=1), view_size=(48, 48), mode="eval")
    manifest = manifest_of(config)
    for number in range(len(manifest)):
        found = TimedReader(5.0, 300, rules, render).read(manifest.row(number))
        assert found.error == "" and what_is_wrong(found.frames_THWC[-1], tolerance=0.15) == ""
