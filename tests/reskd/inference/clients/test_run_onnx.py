"""The program that lies beside student.onnx sees what reskd predict sees, in whole files and in damaged ones."""

from __future__ import annotations

import ast
import json
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
import torch

from dali_pipes.sampling.crops import center_crop
from dali_pipes.sampling.frame_samplers import choose_frames
from dali_pipes.sampling.spec import ONE_TEST_VIEW
from dali_pipes.scan.probe import probe
from dali_pipes.single_pass.test_views import read_test_views
from reskd.choices import ScoreKind
from reskd.cli import run_tool
from reskd.commands import export, predict
from reskd.inference.answers import VideoSettings
from reskd.inference.clients import run_onnx
from reskd.inference.one_pass import views_rule
from reskd.inference.student import TrainedStudent, describe_student, load_trained_student
from reskd.outputs import probabilities
from tests.conftest import SHARED_DATA, numbered_clip
from tests.dali_pipes.decode.test_demux import write_late_stream
from tests.dali_pipes.shown_pictures import ORIENTATIONS, Storing, write_shown
from tests.tiny_student import SHRUNK_VIEWS, write_checkpoint, write_feature_checkpoint

SOURCE = Path(run_onnx.__file__)


def student_of(folder: Path, **settings: Any) -> TrainedStudent:
    return load_trained_student(write_checkpoint(folder / "last.pt", **settings), torch.device("cpu"))


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> TrainedStudent:
    return student_of(tmp_path_factory.mktemp("run"), data=SHRUNK_VIEWS)


def check_same_view(student: TrainedStudent, video: Path) -> run_onnx.Clip:
    """The program's frames and mask are those of reskd predict, to the bit."""
    rule = views_rule(student, VideoSettings(ONE_TEST_VIEW))
    assert rule is not None
    expected = read_test_views(rule, str(video))
    assert expected.frames_VTHWC is not None and expected.valid_VT is not None
    clip = run_onnx.read_clip(str(video), describe_student(student))
    np.testing.assert_array_equal(clip.frames, expected.frames_VTHWC[0])
    np.testing.assert_array_equal(clip.valid, expected.valid_VT[0])
    return clip


def test_it_needs_three_packages_and_none_of_ours() -> None:
    tree = ast.parse(SOURCE.read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    packages = {name.partition(".")[0] for name in imported} - sys.stdlib_module_names
    assert packages == {"av", "numpy", "onnxruntime"}


@pytest.mark.parametrize(("rotation", "mirrored"), ORIENTATIONS)
@pytest.mark.parametrize("aspect", [None, Fraction(16, 11)])
def test_turned_and_mirrored_videos(
    rotation: int, mirrored: bool, aspect: Fraction | None, student: TrainedStudent, tmp_path: Path
) -> None:
    storing = Storing(90, 140, rotation, mirrored, aspect)
    check_same_view(student, write_shown(tmp_path / "a.mp4", storing))


@pytest.mark.parametrize(
    ("codec", "name", "options"),
    [
        ("libx264", "a.mkv", {"bt709": True}),
        ("mjpeg", "a.avi", {}),
        ("libx264", "a.mp4", {"options": {"flags": "+ildct+ilme"}}),
    ],
)
def test_colors(codec: str, name: str, options: dict[str, Any], student: TrainedStudent, tmp_path: Path) -> None:
    check_same_view(student, numbered_clip(tmp_path / name, codec, 7, **options))


@pytest.mark.parametrize("num_frames", [1, 3, 30])
@pytest.mark.parametrize(
    "frames",
    [
        {"kind": "uniform"},
        {"kind": "dense", "stride": 3},
        {"kind": "dense", "stride": 3, "short_video": "loop", "test_starts": "centers"},
    ],
)
def test_kinds_of_frames(frames: dict[str, Any], num_frames: int, tmp_path: Path) -> None:
    data = {"sampling": {"num_frames": 4, "frames": frames}}
    check_same_view(student_of(tmp_path, data=data), numbered_clip(tmp_path / "a.mp4", "libx264", num_frames))


@pytest.mark.parametrize("kind", ["segments", "dense"])
@pytest.mark.parametrize("loops", [False, True])
@pytest.mark.parametrize("starts", ["spread", "centers"])
def test_the_frames_of_config_json_are_those_of_the_loader(kind: str, loops: bool, starts: str) -> None:
    rules: Any = SimpleNamespace(
        frame_kind=kind,
        num_frames=5,
        stride=3,
        test_starts=starts,
        random_frames=False,
        short_video="loop" if loops else "repeat_last",
        test_views=ONE_TEST_VIEW,
    )
    about = vars(rules) | {"kind": kind, "chosen": range(5), "at": range(1, 10, 2), "of": 10}
    for num_frames in range(1, 60):
        numbers, valid = run_onnx.choose_frames(about, num_frames)
        expected_T, valid_T = choose_frames(rules, (), num_frames)
        assert numbers == expected_T.tolist() and valid.tolist() == valid_T.tolist()


@pytest.mark.parametrize("data", [SHRUNK_VIEWS, {"sampling": {"frames": {"kind": "dense", "stride": 3}}}])
def test_the_rule_in_config_json_can_be_evaluated(data: dict[str, Any], tmp_path: Path) -> None:
    """``rule`` is for people; its formulas are Python and give the same frames."""
    frames = describe_student(student_of(tmp_path, data=data))["frames"]
    formula, _, rest = frames["rule"].partition(" for each k in ")
    _, _, start = rest.partition("with start = ")
    for n in range(1, 60):
        values = frames | {"n": n}
        if start:
            values["start"] = eval(start.partition(", in a video")[0], values)
        key = "chosen" if start else "at"
        found = [eval(formula, values | {"k": k}) for k in frames[key]]
        assert rest.startswith(key) and found == run_onnx.choose_frames(frames, n)[0]


def test_crops_are_those_of_the_loader() -> None:
    generator = random.Random(0)
    for _ in range(2000):
        aspect, ratio, pixel = generator.choice([1, 72 / 64]), generator.choice([0.875, 1, 0.8]), Fraction(16, 11)
        height, width = generator.randrange(1, 300), generator.randrange(1, 300)
        rules: Any = SimpleNamespace(view_aspect=aspect / float(pixel), center_ratio=ratio)
        y, x, crop_height, crop_width = center_crop(rules, (), height, width)
        grid = np.stack(np.indices((height, width)), axis=-1)
        found = run_onnx.crop(grid, {"aspects": [1 / aspect, aspect], "ratio": ratio}, float(pixel))
        assert found.shape[:2] == (crop_height, crop_width) and found[0, 0].tolist() == [y, x]


# ------------------------------------------------------------------ damage


def damaged(path: Path, content: bytes, kind: str, generator: random.Random) -> Path:
    """Write ``content`` cut, or with some bits changed."""
    changed = bytearray(content)
    if kind == "cut":
        changed = changed[: generator.randrange(len(content) // 4, len(content))]
    else:
        for _ in range(5):
            changed[generator.randrange(len(content) // 4, len(content))] ^= 1 << generator.randrange(8)
    path.write_bytes(changed)
    return path


@pytest.mark.parametrize("kind", ["cut", "flipped"])
@pytest.mark.parametrize(
    ("codec", "name"), [("mpeg4", "a.avi"), ("libx264", "a.mkv"), ("libx264", "a.ts"), ("libvpx-vp9", "a.webm")]
)
def test_a_damaged_file_has_the_frames_of_the_scan(codec: str, name: str, kind: str, tmp_path: Path) -> None:
    content = numbered_clip(tmp_path / name, codec, 40).read_bytes()
    generator = random.Random(1)
    for _ in range(8):
        video = damaged(tmp_path / name, content, kind, generator)
        expected = probe(video).video_info
        try:
            num_frames, _ = run_onnx.count_usable_frames(str(video))
        except (ValueError, OSError, av.error.FFmpegError):
            num_frames = 0
        assert num_frames == (expected.num_frames if expected.usable else 0), expected.health


def shared(*patterns: str) -> list[Path]:
    return [path for pattern in patterns for path in sorted(SHARED_DATA.glob(pattern))]


REAL = shared("odd/*", "ucf10/Archery/*g08_c01.avi", "ucf10/BandMarching/*_g1[1-5]*.avi")


@pytest.mark.skipif(not REAL, reason="the shared data are not here")
@pytest.mark.slow
def test_odd_and_cut_files_are_read_as_predict_reads_them(student: TrainedStudent) -> None:
    about = describe_student(student)
    num_damaged = 0
    for video in REAL:
        expected = probe(str(video)).video_info
        if expected.usable:
            note = check_same_view(student, video).note
            assert ("damage" in note) == (expected.health != "ok"), (video, note, expected.health)
            num_damaged += "damage" in note
        else:
            with pytest.raises((ValueError, OSError, av.error.FFmpegError)):
                run_onnx.read_clip(str(video), about)
    assert num_damaged > 3


def test_a_stream_that_appears_on_the_way_is_passed_over(student: TrainedStudent, tmp_path: Path) -> None:
    check_same_view(student, write_late_stream(tmp_path / "a.ts"))


def test_a_playlist_opens_no_other_file(student: TrainedStudent, tmp_path: Path) -> None:
    numbered_clip(tmp_path / "a.ts", "libx264", 6)
    playlist = tmp_path / "a.m3u8"
    playlist.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\na.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises((ValueError, av.error.FFmpegError)):
        run_onnx.read_clip(str(playlist), describe_student(student))


# ------------------------------------------------------------------ the command


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("run") / "last.pt", data=SHRUNK_VIEWS)


@pytest.fixture(scope="module")
def exported(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason="needs the extra [export]")
    folder = tmp_path_factory.mktemp("onnx")
    assert run_tool(export.main, [str(checkpoint), "--out", str(folder), "--format", "onnx"]) == 0
    return folder


def run_beside(exported: Path, *videos: object) -> tuple[int, list[dict[str, Any]], str]:
    command = [sys.executable, str(exported / "run_onnx.py"), str(exported / "student.onnx"), *map(str, videos)]
    # -I: neither the working directory nor PYTHONPATH, so this package cannot be imported by accident.
    done = subprocess.run(
        [command[0], "-I", *command[1:]], capture_output=True, text=True, timeout=300, check=False, cwd=exported
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def wide_pixels(folder: Path) -> Path:
    return write_shown(folder / "wide.mp4", Storing(90, 140, pixel_aspect=Fraction(16, 11)), num_frames=11)


def cut_clip(folder: Path) -> Path:
    whole = numbered_clip(folder / "whole.ts", "libx264", 60)
    (folder / "cut.ts").write_bytes(whole.read_bytes()[:-3000])
    return folder / "cut.ts"


@pytest.mark.slow
@pytest.mark.parametrize("make", [wide_pixels, cut_clip])
def test_it_answers_as_predict_does(
    make: Callable[[Path], Path],
    exported: Path,
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    video = make(tmp_path)
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    code, lines, said = run_beside(exported, video, tmp_path / "bad.mp4", tmp_path / "none.mp4")
    assert code == 0 and f"{video}: took the frames " in said and "Traceback" not in said
    assert [line.get("error") for line in lines] == [None, "Invalid data found when processing input", "no such file"]
    assert run_tool(predict.main, [str(checkpoint), str(video), "--json"]) == 0
    expected = json.loads(capsys.readouterr().out)
    assert lines[0].keys() == expected.keys()
    for found, wanted in zip(lines[0]["answers"], expected["answers"], strict=True):
        assert found.keys() == wanted.keys() and found["class"] == wanted["class"]
        assert found["logit"] == pytest.approx(wanted["logit"], abs=1e-5)
        assert found["score"] == pytest.approx(wanted["score"], abs=1e-5)


@pytest.mark.slow
def test_without_an_answer_the_exit_code_is_1(exported: Path, tmp_path: Path) -> None:
    code, (line,), said = run_beside(exported, tmp_path / "none.mp4")
    assert code == 1 and line["error"] == "no such file" and not said
    code, lines, said = run_beside(exported)
    assert code == 1 and not lines and said == "usage: run_onnx.py student.onnx VIDEO ...\n"


def test_students_that_it_cannot_serve_are_refused_in_a_sentence(student: TrainedStudent, tmp_path: Path) -> None:
    path = write_feature_checkpoint(tmp_path / "last.pt", root=tmp_path)
    about = describe_student(load_trained_student(path, torch.device("cpu")))
    with pytest.raises(ValueError, match="expected a student of videos, found one of features"):
        run_onnx.read_clip("a.mp4", about)
    about = describe_student(student)
    about["resize"]["antialias"] = True
    with pytest.raises(ValueError, match="expected a student without antialias: true"):
        run_onnx.read_clip("a.mp4", about)


def test_several_views_are_said(student: TrainedStudent, tmp_path: Path) -> None:
    about = describe_student(student)
    about["test"]["test_clips"] = 10
    clip = run_onnx.read_clip(str(numbered_clip(tmp_path / "a.mp4", "libx264", 6)), about)
    assert clip.note.endswith("one view, where reskd predict averages several (give it --clips 1 --crops 1)")


@pytest.mark.parametrize("scores", ["softmax", "sigmoid"])
def test_scores_have_the_temperature_of_the_export(scores: ScoreKind, student: TrainedStudent) -> None:
    about = {**describe_student(replace(student, temperature=2.5)), "scores": scores}
    logits_K = np.array([3.0, -1.0, 0.5])
    found = {one["class"]: one["score"] for one in run_onnx.best_answers(logits_K, about)}
    expected = probabilities(torch.from_numpy(logits_K), scores, 2.5)
    assert [found[name] for name in student.class_names] == pytest.approx(expected.tolist())
    del about["temperature"]  # of an earlier version
    found = {one["class"]: one["score"] for one in run_onnx.best_answers(logits_K, about)}
    assert [found[name] for name in student.class_names] == pytest.approx(
        probabilities(torch.from_numpy(logits_K), scores).tolist()
    )
