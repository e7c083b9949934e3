"""Whole videos read at a rate: the right frames, in one piece or several, and reasons in place of errors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dali_pipes.config import StudentViewConfig, ViewConfig, ViewsConfig
from dali_pipes.loader import whole_video
from dali_pipes.loader.cpu_render import RenderPlan, render_plan
from dali_pipes.loader.whole_video import TimedReader
from dali_pipes.manifest.manifest import ManifestRow
from dali_pipes.sampling.spec import rules_from_config
from dali_pipes.sampling_config import SamplingConfig
from dali_pipes.scan.scan import scan
from tests.conftest import HEIGHT, WIDTH, numbered_clip, read_number

RULES = rules_from_config(SamplingConfig(test_crop_ratio=1), view_size=(HEIGHT, WIDTH), mode="eval")


def plan(*names: str, teacher: bool = False) -> RenderPlan:
    views = ViewsConfig(
        teacher=ViewConfig(size=(HEIGHT, WIDTH)) if teacher else None,
        student=StudentViewConfig(size=(48, 64), source="teacher_view" if teacher else "decoded", num_frames=2),
    )
    found = render_plan(views, names)
    assert found is not None
    return found


def row_of(path: Path, store: Path) -> ManifestRow:
    video_info = scan(
        [path.name], root=path.parent, store=store, engine=lambda work, items: ((i, work(i)) for i in items)
    )
    return ManifestRow(path, 0, video_info[path.name])


@pytest.fixture
def row(tmp_path: Path) -> ManifestRow:
    return row_of(numbered_clip(tmp_path / "a.mp4", "libx264", 40), tmp_path / "scan")


@pytest.mark.parametrize(
    ("render", "shape"),
    [
        (plan("student"), (48, 64, 3)),
        (plan("student", teacher=True), (48, 64, 3)),
        (plan("teacher", teacher=True), (HEIGHT, WIDTH, 3)),
    ],
)
def test_the_frames_of_the_whole_video_are_shown_as_that_view_shows_them(
    row: ManifestRow, render: RenderPlan, shape: tuple[int, ...]
) -> None:
    found = TimedReader(5.0, 300, RULES, render).read(row)
    assert found.error == ""
    assert found.frames_THWC.shape[1:] == shape
    assert found.numbers_T.tolist() == [0, 5, 10, 15, 20, 25, 30, 35]
    assert [read_number(frame)[0] for frame in found.frames_THWC] == found.numbers_T.tolist()


def test_pieces_give_the_same_frames(row: ManifestRow, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = TimedReader(25.0, 300, RULES, plan("student"))
    whole = reader.read(row)
    monkeypatch.setattr(whole_video, "_BYTES_AT_ONCE", 0)
    monkeypatch.setattr(whole_video, "_LEAST_AT_ONCE", 7)
    assert np.array_equal(reader.read(row).frames_THWC, whole.frames_THWC)
    assert len(whole.frames_THWC) == 40


def test_a_video_that_cannot_be_read_says_why(row: ManifestRow) -> None:
    reader = TimedReader(1.0, 300, RULES, plan("student"))
    gone = replace(row, path=row.path.with_name("gone.mp4"))
    assert "No such file" in reader.read(gone).error
    row.path.write_bytes(row.path.read_bytes()[:-100])
    found = reader.read(row)
    assert "as scanned" in found.error
    assert found.frames_THWC.shape[0] == 0


def test_a_folder_of_frames_needs_its_rate(row: ManifestRow) -> None:
    folder = replace(row, template="img_{:05d}.jpg")
    assert "set --folder-fps" in TimedReader(1.0, 300, RULES, plan("student")).read(folder).error
