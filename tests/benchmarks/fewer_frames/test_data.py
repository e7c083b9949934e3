"""Where the study's records come from: nothing that was made for something else is taken for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.fewer_frames import data
from benchmarks.fewer_frames.data import synthetic
from dali_pipes.synthetic.features import ABOUT


def test_made_up_videos_are_made_once_and_only_taken_for_what_they_are(tmp_path: Path) -> None:
    quick = synthetic(tmp_path, quick=True)
    written = (tmp_path / ABOUT).stat().st_mtime_ns
    assert synthetic(tmp_path, quick=True) == quick
    assert (tmp_path / ABOUT).stat().st_mtime_ns == written
    with pytest.raises(ValueError, match=r"num_videos.train: 64 there, 6000 now, spec.frames: \[20, 40\] there"):
        synthetic(tmp_path)


def test_more_videos_of_the_same_kind_are_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "_VIDEOS", {"train": 2, "test": 1})
    synthetic(tmp_path)
    monkeypatch.setattr(data, "_VIDEOS", {"train": 3, "test": 1})
    with pytest.raises(ValueError, match=r"about.json: expected .* \(num_videos.train: 2 there, 3 now\); name another"):
        synthetic(tmp_path)


def test_quick_runs_and_rows_have_a_name_of_their_own(tmp_path: Path) -> None:
    assert synthetic(tmp_path, quick=True).name == "synthetic-quick"
    (tmp_path / "features.json").write_text('{"settings": {"groups": {"rgb": 8}}}')
    assert [data.ucf10(tmp_path, quick=quick).name for quick in (False, True)] == ["ucf10", "ucf10-quick"]
