"""reskd analyze receptive-field and attention, on runs of tiny videos, and a sentence for what does not fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from reskd.analysis.attention_pictures import ClipPanels, Panel
from reskd.analysis.receptive_field_command import render_table
from reskd.cli import run_tool
from reskd.commands import analyze
from tests.conftest import numbered_clip
from tests.tiny_student import CLASSES, write_checkpoint, write_feature_checkpoint

WriteRun = Callable[..., str]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three videos of each class; no two are equal."""
    folder = tmp_path_factory.mktemp("videos")
    for number in range(9):
        path = folder / CLASSES[number // 3] / f"{number}.mp4"
        path.parent.mkdir(exist_ok=True)
        numbered_clip(path, "libx264", 12, tint=20 * number)
    return folder


@pytest.fixture
def write_run(tmp_path: Path, videos: Path) -> WriteRun:
    """Writes the run of an untrained student of three classes, and returns its folder."""

    def write(name: str, *, size: int = 40, student: dict[str, Any] | None = None, **data: Any) -> str:
        settings = {
            "root": str(videos),
            "train": "folders",
            "test_fraction": 0.34,
            "val_fraction": 0,
            "scan_cache": str(videos.parent / "scan"),
            "views": {"student": {"size": size, "source": "decoded"}},
        }
        write_checkpoint(tmp_path / name / "last.pt", student=student, data={**settings, **data})
        return str(tmp_path / name)

    return write


def test_fields_of_several_networks_in_one_picture_and_one_table(
    write_run: WriteRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [write_run("teacher", size=96), write_run("student", size=40)]
    out = tmp_path / "out"
    command = ["receptive-field", *runs, "--clips", "3", "--out", str(out), "--device", "cpu", "--tensorboard", runs[1]]
    assert run_tool(analyze.main, command) == 0
    result = json.loads((out / "receptive_field.json").read_text())
    teacher, student = result["networks"]
    assert [(one["run"], one["view"], one["map"], one["position"]) for one in (teacher, student)] == [
        ("teacher", [2, 96, 96], [3, 3], [1, 1]),
        ("student", [2, 40, 40], [2, 2], [1, 1]),
    ]
    for one, side in ((teacher, 96), (student, 40)):
        assert 1 <= one["pixels"]["side_50"] <= one["pixels"]["side_95"] <= side
        assert one["share"]["side_50"] == pytest.approx(one["pixels"]["side_50"] / side, abs=1e-3)
    assert [Path(clip).parent.name for clip in result["clips"]] == list(CLASSES)
    printed = capsys.readouterr().out
    assert "| teacher | 3x3 | 1,1 |" in printed and "| student | 2x2 | 1,1 |" in printed
    assert "| teacher | 3x3 | 1,1 |" in (out / "receptive_field.md").read_text()
    with Image.open(out / "receptive_field.png") as picture:
        assert min(picture.size) > 300
    events = [path.name for path in (tmp_path / "student").iterdir() if "tfevents" in path.name]
    assert len(events) == 1 and events[0].endswith(".analysis")


@pytest.mark.parametrize("show", ["true", "activation"])
def test_overlays_on_the_frames_of_the_larger_view(show: str, write_run: WriteRun, tmp_path: Path) -> None:
    runs = [write_run("student", size=40), write_run("teacher", size=96, sampling={"num_frames": 4})]
    out = tmp_path / "out"
    command = ["attention", *runs, "--clips", "2", "--out", str(out), "--device", "cpu", "--show", show]
    assert run_tool(analyze.main, command) == 0
    result = json.loads((out / "attention.json").read_text())
    assert len(result["clips"]) == 2
    for clip in result["clips"]:
        assert set(clip["answers"]) == {"student", "teacher"}
        for answer in clip["answers"].values():
            expected = clip["class"] if show == "true" else None
            assert answer["shown_class"] == expected
            assert 1 / 3 <= answer["score"] <= 1
    with av.open(str(out / "attention.mp4")) as video:
        frames = list(video.decode(video=0))
        assert video.streams.video[0].codec_context.name == "h264"
    assert len(frames) == 2 * 4  # the frames of the larger view
    assert (frames[0].width, frames[0].height) == (3 * 240, 240 + 2 * 26)
    with Image.open(out / "attention.png") as sheet:
        assert sheet.width == 630


def test_runs_that_cannot_be_compared_are_told(
    write_run: WriteRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run("run")
    (tmp_path / "empty").mkdir()
    write_feature_checkpoint(tmp_path / "features" / "last.pt", root=tmp_path)
    other_list = write_run("other_list", test_fraction=0.67)
    other_crop = write_run("other_crop", sampling={"num_frames": 2, "test_crop_ratio": 0.5})
    for arguments, message in (
        ([str(tmp_path / "nothing")], "nothing: expected the folder of a run, found none; check the path."),
        ([str(tmp_path / "empty")], "expected the checkpoint last.pt of a run, found none; train the run"),
        ([run, "--checkpoint", "best"], "expected the checkpoint best.pt of a run, found none"),
        ([str(tmp_path / "features")], "expected a network with a feature map, found family features"),
        ([run, other_list, "--clips", "1"], f"{other_list}: expected the test list of {run} with its 3 videos, found"),
        ([run, other_crop, "--clips", "1"], f"{other_crop}: expected frames cut as in {run}"),
        ([run, "--split", "val"], "expected videos of the split val, found none, as data.val_fraction is 0"),
        ([run, "--clips", "4"], "--clips 4: expected at most 3, the videos of the test list; choose fewer."),
        ([run, "--clips", "1", "--position", "2,0"], "--position 2,0: expected a row of 0 to 1 and a column of 0 to 1"),
        ([run, "--tensorboard", str(tmp_path)], "expected the folder of a trained run, found no last.pt in it"),
    ):
        command = ["receptive-field", *arguments, "--out", str(tmp_path / "out"), "--device", "cpu"]
        assert run_tool(analyze.main, command) == 1
        assert message in capsys.readouterr().err
    assert run_tool(analyze.main, ["attention", run, "--clips", "51", "--out", str(tmp_path / "out")]) == 1
    assert "--clips 51: expected at most 50 on a sheet" in capsys.readouterr().err


@pytest.mark.parametrize("position", ["3", "1,2,3", "-1,0", "middle"])
def test_a_position_that_is_none_is_refused(position: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        analyze.main(["receptive-field", "run", "--out", "out", f"--position={position}"])
    assert f"expected center, or a row and a column such as 3,3, found '{position}'" in capsys.readouterr().err


def test_names_are_text_in_the_table_and_colors_tell_right_from_wrong() -> None:
    numbers = {"side_50": 1.0, "side_95": 2.0, "luo": 3.0}
    table = render_table([("a|b", {"map": [2, 3], "position": [1, 1], "pixels": numbers, "share": numbers})])
    assert table.splitlines()[2] == "| a\\|b | 2x3 | 1,1 | 1.0 | 1.000 | 2.0 | 2.000 | 3.0 | 3.000 |"
    frames = np.zeros((1, 4, 4, 3), np.uint8)
    clip = ClipPanels(frames, "left", [Panel(frames, "left 90%", True), Panel(frames, "up 50%", False)])
    assert len({color for _, _, color in clip.columns(0)}) == 3
