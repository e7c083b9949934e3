from __future__ import annotations

import os
from pathlib import Path

import pytest

from dali_pipes.annotations.lists import parse_list, videos_under


def _touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_links_are_followed_and_whatever_is_left_out_is_named(tmp_path: Path) -> None:
    root = tmp_path / "root"
    _touch(tmp_path, "elsewhere/far.mp4", "elsewhere/deep/b.MTS", "one.3gp")
    _touch(root, "run/a.mp4", "run/sub/c.asf", "run/x.txt", "run/y.txt", "run/z.json", "run/.DS_Store", "run/._a.mp4")
    _touch(root, "jump/d.m2ts", "beside.mp4", "list.csv", ".reskd_scan/x.mp4", "texts/only.txt")
    (root / "none").mkdir()
    (root / "run/sub/hollow").mkdir()
    (root / "run/linked").symlink_to(tmp_path / "elsewhere")
    (root / "run/one.3gp").symlink_to(tmp_path / "one.3gp")
    (root / "run/gone.mp4").symlink_to("nowhere.mp4")
    (root / "run/sub/up").symlink_to(root / "run")
    (root / "run/top").symlink_to(root)
    (tmp_path / "elsewhere/back").symlink_to(root / "run")
    (root / "run/self.mp4").symlink_to("self.mp4")
    os.mkfifo(root / "run/pipe.mp4")
    parsed = parse_list(root, "folders")
    assert [(video.path, *video.labels) for video in parsed.videos] == [
        ("jump/d.m2ts", "jump"),
        ("run/a.mp4", "run"),
        ("run/linked/deep/b.MTS", "run"),
        ("run/linked/far.mp4", "run"),
        ("run/one.3gp", "run"),
        ("run/sub/c.asf", "run"),
    ]
    (remark,) = parsed.remarks
    for part in (
        "4 files with unknown suffixes (.txt 3, .json 1)",
        "1 video outside the class folders (beside.mp4)",
        "2 hidden files (run/.DS_Store, run/._a.mp4)",
        "1 dangling link (run/gone.mp4)",
        "3 links to a folder that is searched already",
        "1 pipe, socket or device (run/pipe.mp4)",
        "1 empty folder (run/sub/hollow)",
        "run/self.mp4",
        "class folder 'none' is empty",
        "class folder 'texts' has no video",
    ):
        assert part in remark, part


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _touch(tmp_path, "run/a.mp4", "run/closed/b.mp4")
    scandir = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    parsed = parse_list(tmp_path, "folders")
    assert [video.path for video in parsed.videos] == ["run/a.mp4"]
    assert "1 unreadable folder (run/closed: Permission denied)" in parsed.remarks[0]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("train/run/a.mp4", "val/run/b.mp4"), "called train, val: data.root seems one level too high"),
        (("a/run/a.mp4", "b/run/b.mp4"), "hold only folders, as in a/run/a.mp4"),
        (("run/a.mp4", "jump/b.mp4", "jump/deep/c.mp4"), None),
    ],
)
def test_a_root_one_level_too_high_is_reported(names: tuple[str, ...], said: str | None, tmp_path: Path) -> None:
    _touch(tmp_path, *names)
    remarks = parse_list(tmp_path, "folders").remarks
    assert said in remarks[0] if said else not remarks


def test_all_videos_below_a_folder_are_found_with_a_remark(tmp_path: Path) -> None:
    _touch(tmp_path, "b.h264", "a/x.VOB", "a/x.pdf", ".reskd_scan/1.csv")
    said: list[str] = []
    assert videos_under(tmp_path, said.append) == ["a/x.VOB", "b.h264"]
    assert said == [f"{tmp_path}: left out: 1 file with an unknown suffix (.pdf 1)"]
