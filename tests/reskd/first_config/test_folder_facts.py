from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from reskd.cli import run_tool
from reskd.commands import init
from reskd.first_config.folder_facts import look_into
from tests.conftest import HEIGHT, WIDTH


@pytest.fixture
def folder(make_folder: Callable[..., Path], tmp_path: Path) -> Path:
    videos = make_folder({"left": ["libx264"] * 3, "right": ["mjpeg"] * 2}, num_frames=12)
    folder = tmp_path / "my videos"
    for number, path in enumerate(sorted(videos.glob("*/*.*"))):
        (folder / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / path.parent.name / f"film{number // 2}_part{number % 2}{path.suffix}")
    (folder / "left/broken.mp4").write_bytes(b"no video")
    (folder / "left/notes.txt").write_text("no video either")
    return folder


def test_a_folder_is_described_by_its_list_and_a_few_files(folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    facts = look_into(folder)
    assert (facts.videos_of_class, facts.num_videos) == ({"left": 4, "right": 2}, 6)
    assert (facts.short_side, facts.num_frames, facts.num_opened) == (min(HEIGHT, WIDTH), 12, 6)
    assert list(facts.bad) == ["left/broken.mp4"]
    assert facts.num_groups == 4  # of three films and of broken.mp4, which has no part
    assert ".txt 1" in " ".join(facts.remarks)
    assert sorted(folder.rglob("*")) == before


def test_a_list_with_groups_needs_no_pattern(folder: Path) -> None:
    lines = [f"left/film0_part{n}.mp4,left,a" for n in (0, 1)] + ["right/film1_part1.avi,right,b"]
    names = {path.name for path in folder.glob("*/*")}
    lines = [line for line in lines if line.split(",")[0].split("/")[1] in names]
    (folder / "list.csv").write_text("\n".join(["path,label,group", *lines]) + "\n")
    assert look_into(folder, "list.csv").group_pattern is None


def test_one_class_is_refused(folder: Path) -> None:
    shutil.rmtree(folder / "right")
    with pytest.raises(ValueError, match=r"expected a folder for each of two or more classes, .* found 1 \(left\)"):
        look_into(folder)


def test_the_command_writes_a_config_once(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_tool(init.main, ["my videos"]) == 0
    out = capsys.readouterr().out
    assert "left/broken.mp4: cannot be read: " in out and "reskd train my_my_videos.yaml" in out
    text = Path("my_my_videos.yaml").read_text()
    assert "name: my_my_videos" in text and "root: 'my videos'" in text
    assert run_tool(init.main, ["my videos"]) == 1
    assert "my_my_videos.yaml is there already" in capsys.readouterr().err
    assert run_tool(init.main, ["my videos", "--overwrite", "--out", "my_my_videos.yaml"]) == 0
    assert run_tool(init.main, ["nowhere"]) == 1
    assert "nowhere" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "num_groups"),
    [
        ("v_{label}_g{group:02d}_c{clip:02d}", 12),  # UCF101
        ("film{group}_part{clip}", 6),
        ("film{group}{label}-clip{clip}", 12),
        ("id{group}x_{clip:06d}_{clip:06d}", 6),  # Kinetics
        ("{label}{group}-{clip:04d}", 12),
        ("IMG_{group}{clip}", 0),  # a camera's name is no recording
        ("{label}_{group}{clip}", 0),
        ("{label}{group}{clip}x", 0),
    ],
)
def test_names_of_clips_are_guessed_to_be_of_one_recording(name: str, num_groups: int, tmp_path: Path) -> None:
    for label in ("left", "right"):
        (tmp_path / label).mkdir()
        for number in range(12):
            file = name.format(label=label, group=number // 2, clip=number % 2)
            (tmp_path / label / f"{file}.mp4").write_bytes(b"")
        (tmp_path / label / "broken one.mp4").write_bytes(b"")
    facts = look_into(tmp_path)
    assert facts.num_groups == (num_groups + 1 if num_groups else 0)  # "broken one" is a group
    assert (facts.group_pattern is None) == (num_groups == 0)
