"""One decode gives the scan and the test views, with the pixels of the loader."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from dali_pipes.loader.clip_reader import ClipReader
from dali_pipes.loader.cpu_render import RenderPlan
from dali_pipes.loader.decoder_choice import BY_PYAV
from dali_pipes.manifest.manifest import ManifestRow
from dali_pipes.sampling.clip_plan import VideoShape, plan_clip
from dali_pipes.sampling.spec import SamplingRules, StudentFrames, TestViews
from dali_pipes.scan import probe as probe_module
from dali_pipes.scan.probe import probe
from dali_pipes.single_pass import test_views
from dali_pipes.single_pass.test_views import ViewsRule, read_test_views
from tests.conftest import SHARED_DATA, numbered_clip
from tests.dali_pipes.shown_pictures import Storing, write_shown


def rule(clips: int = 2, crops: Any = 3, **changed: Any) -> ViewsRule:
    rules = SamplingRules(
        num_frames=4,
        frame_kind="segments",
        random_frames=False,
        crop_kind="three" if crops == 3 else "center",
        view_aspect=48 / 40,
        center_ratio=0.875,
        flip_probability=0.0,
        test_views=TestViews(clips, crops),
        student=StudentFrames(3, alone=True),
        **changed,
    )
    return ViewsRule(rules, RenderPlan((80, 96), (40, 48), True, None, ("student",)))


def expected_views(wanted: ViewsRule, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The views as the scan and then the loader's reader give them."""
    row = ManifestRow(path, 0, probe(path).video_info)
    shape = VideoShape(row.video_info.num_frames, *row.upright_size, row.upright_pixel_aspect)
    views = range(wanted.rules.test_views.num_test_views)
    plans = [plan_clip(wanted.rules, shape, seed=0, position=view, attempt=0, row=0) for view in views]
    reader = ClipReader(BY_PYAV, render=wanted.render)
    frames = [reader.read(plan, row).student_THWC for plan in plans]
    return np.stack(frames), np.stack([plan.student_valid_k for plan in plans])


def check_equal(wanted: ViewsRule, path: Path) -> int:
    found, (frames, valid) = read_test_views(wanted, str(path)), expected_views(wanted, path)
    assert found.video_info == probe(path).video_info
    assert found.frames_VTHWC is not None and found.valid_VT is not None
    np.testing.assert_array_equal(found.frames_VTHWC, frames)
    np.testing.assert_array_equal(found.valid_VT, valid)
    return found.num_decodes


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Counts opened files and decoded frames."""
    counts = {"opened": 0, "decoded": 0}
    av_open, frames_of = av.open, probe_module.frames_of

    def counted_open(source: Any, mode: str, **options: Any) -> Any:
        counts["opened"] += mode == "r" and isinstance(source, str)  # not the codec header of a packet index
        return av_open(source, mode, **options)

    def counted_frames(packets: Any) -> Iterator[Any]:
        for frame in frames_of(packets):
            counts["decoded"] += 1
            yield frame

    monkeypatch.setattr(av, "open", counted_open)
    monkeypatch.setattr(probe_module, "frames_of", counted_frames)
    monkeypatch.setattr(test_views, "first_frames", lambda *_, **__: pytest.fail("decoded again"))
    return counts


@pytest.mark.parametrize(("codec", "suffix"), [("libx264", "mp4"), ("libvpx-vp9", "webm"), ("mjpeg", "avi")])
def test_a_sound_video_is_decoded_once(codec: str, suffix: str, tmp_path: Path, count: dict[str, int]) -> None:
    path = numbered_clip(tmp_path / f"a.{suffix}", codec, 17)
    found = read_test_views(rule(), str(path))
    assert found.frames_VTHWC is not None and found.frames_VTHWC.shape == (6, 3, 40, 48, 3)
    assert found.num_decodes == 1
    assert count == {"opened": 2, "decoded": 17}  # packets are counted, which decodes nothing


SHOWN = {
    "plain": Storing(90, 140),
    "wide pixels": Storing(90, 140, pixel_aspect=Fraction(16, 11)),
}


@pytest.mark.parametrize("name", SHOWN)
@pytest.mark.parametrize("crops", [1, 3])
def test_the_pixels_are_the_loaders(name: str, crops: int, tmp_path: Path) -> None:
    path = write_shown(tmp_path / "a.mp4", SHOWN[name], num_frames=11)
    assert check_equal(rule(crops=crops), path) == 1


def test_a_video_shorter_than_the_clip_repeats_frames(tmp_path: Path) -> None:
    path = numbered_clip(tmp_path / "a.mp4", "libx264", 2)
    assert check_equal(rule(clips=1, crops=1), path) == 1
    valid_VT = read_test_views(rule(clips=1, crops=1), str(path)).valid_VT
    assert valid_VT is not None and valid_VT.sum() == 2


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.6)])


def garbled(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 400] = b"\xff" * 400
    path.write_bytes(content)


@pytest.mark.parametrize("spoil", [cut_short, garbled])
def test_a_damaged_video_gives_the_views_of_its_usable_frames(spoil: Callable[[Path], None], tmp_path: Path) -> None:
    path = numbered_clip(tmp_path / "a.avi", "mpeg4", 40)
    spoil(path)
    assert probe(path).video_info.health.startswith("cut")
    check_equal(rule(), path)


def test_what_is_no_video_has_the_scans_reason(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video")
    found = read_test_views(rule(), str(tmp_path / "a.mp4"))
    assert found.frames_VTHWC is None
    assert found.video_info.health == "bad: does not open: Invalid data found when processing input"


@pytest.mark.slow
@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the shared data are not here")
def test_strange_real_files_give_the_loaders_pixels() -> None:
    usable = [path for path in sorted((SHARED_DATA / "odd").iterdir()) if probe(path, decode=False).video_info.usable]
    usable = [path for path in usable if path.stat().st_size < 3 << 20]
    decodes = [check_equal(rule(clips=1, crops=1), path) for path in usable if probe(path).video_info.usable]
    assert len(decodes) > 10 and decodes.count(1) >= 0.8 * len(decodes)
