from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from dali_pipes.scan.scan import scan
from reskd.experiment.config import ExperimentConfig, parse_config
from reskd.reports.experiment.findings import Mistake
from reskd.reports.experiment.mistakes import mistake_thumbnails
from tests.reskd.reports.experiment.models import model, predictions

SUBJECT = model("student", "x", predictions(1.0, 0))


def config_of(root: Path, store: Path) -> ExperimentConfig:
    return parse_config(
        {
            "name": "x",
            "data": {
                "root": str(root),
                "train": "folders",
                "scan_cache": str(store),
                "views": {"student": {"size": 32, "source": "decoded"}},
            },
            "student": {"backbone": "resnet18"},
            "optimizer": {"lr": 0.1},
            "training": {"epochs": 1, "global_batch_size": 2},
        }
    )


def mistakes(*videos: str) -> list[Mistake]:
    return [Mistake(video, ("left",), "right", 0.93, (("teacher", "left", True),)) for video in videos]


def test_a_mistake_shows_the_middle_of_its_video_or_says_why_not(
    make_folder: Callable[..., Path], tmp_path: Path
) -> None:
    root = make_folder({"left": ["libx264", "mpeg4"], "right": ["libx264"]}, num_frames=12)
    copy = tmp_path / "videos"
    copy.mkdir()
    for path in sorted(root.glob("*/*")):
        (copy / path.parent.name).mkdir(exist_ok=True)
        (copy / path.parent.name / path.name).write_bytes(path.read_bytes())
    names = ["left/00.mp4", "left/01.avi", "right/00.mp4"]
    scan(names, root=copy, store=tmp_path / "store")
    (copy / "left/01.avi").unlink()
    (copy / "right/00.mp4").write_bytes(b"other")
    subject = replace(SUBJECT, config=config_of(copy, tmp_path / "store"))
    there, gone, changed, unknown = mistake_thumbnails(mistakes(*names, "left/new.mp4"), subject)
    assert there.image.startswith("data:image/jpeg;base64,") and len(there.image) < 12_000
    assert there.lines == (("", '"right" (93 %), but it is left'), ("neutral", "teacher: right"))
    assert there.described == "middle frame of left/00.mp4: left, taken for right"
    assert (gone.image, gone.missing) == ("", "the video is no longer there")
    assert "expected" in changed.missing and not changed.image
    assert unknown.missing.startswith("not found by the scan of ")


def test_without_settings_there_is_no_picture() -> None:
    (one,) = mistake_thumbnails(mistakes("a.mp4"), SUBJECT)
    assert one.missing == "the settings of the run are not known"
