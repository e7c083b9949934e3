"""Any videos in, the answers of evaluation out; what has no answer is named and stops nothing."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from dali_pipes.annotations.lists import LabeledVideo
from dali_pipes.manifest.manifest import Manifest
from dali_pipes.sampling.spec import TestViews
from dali_pipes.scan.scan import scan
from reskd.cli import run_tool
from reskd.commands import predict
from reskd.distributed import World
from reskd.evaluation.evaluator import EvaluationSettings, evaluate
from reskd.inference.answers import Answer, NoAnswer, VideoSettings
from reskd.inference.student import load_trained_student
from reskd.inference.videos import answer_videos
from reskd.training.precision import Precision
from tests.conftest import SHARED_DATA, numbered_clip
from tests.dali_pipes.loaders import clip_loader
from tests.tiny_student import CLASSES, write_checkpoint

CPU = torch.device("cpu")


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("opened",)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("run") / "last.pt")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good videos, one without a suffix, a bad one, links, and what is no video."""
    folder = tmp_path_factory.mktemp("given")
    (folder / "deeper").mkdir()
    numbered_clip(folder / "a.mp4", "libx264", 12)
    numbered_clip(folder / "deeper" / "b.webm", "libvpx-vp9", 3, tint=90)
    numbered_clip(folder / "film.avi", "mjpeg", 7, tint=40).rename(folder / "film")
    (folder / "bad.mp4").write_bytes(b"no video")
    (folder / "notes.txt").write_text("no video either\n" * 1000)
    (folder / ".hidden.mp4").write_bytes(b"")
    (folder / "gone.mp4").symlink_to("nowhere")
    (folder / "0.mp4").symlink_to("a.mp4")
    (folder / "deeper" / "up").symlink_to(folder)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    numbered_clip(elsewhere / "far.mp4", "libx264", 4)
    (elsewhere / "back").symlink_to(folder / "deeper")
    (folder / "linked").symlink_to(elsewhere)
    (folder / "hollow").mkdir()
    cv2.imwrite(str(folder / "picture.jpg"), np.zeros((64, 64, 3), np.uint8))
    return folder


def objects(text: str) -> dict[str, dict[str, Any]]:
    return {found["file"]: found for found in map(json.loads, text.splitlines())}


def test_a_folder_is_answered_and_whatever_is_not_is_named(
    checkpoint: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = tmp_path / "sheet.png"
    given = [str(folder), *(str(folder / name) for name in ("a.mp4", "film", "none.mp4")), ""]
    arguments = [str(checkpoint), *given, "--json", "--sheet", str(sheet), "--top", "2"]
    assert run_tool(predict.main, [*arguments, "--strict"]) == 1
    strict = capsys.readouterr()
    assert run_tool(predict.main, arguments) == 0
    out, err = capsys.readouterr()
    found = {Path(file).name: line for file, line in objects(out).items()}
    assert len(out.splitlines()) == len(found)  # a.mp4 is answered once
    assert {name for name, line in found.items() if "answers" in line} == {"a.mp4", "b.webm", "far.mp4", "film"}
    assert {name: line["error"] for name, line in found.items() if "error" in line} == {
        "bad.mp4": "does not open: Invalid data found when processing input",
        "none.mp4": "no such file",
        "": "an empty name",
    }
    (left_out,) = (line for line in err.splitlines() if "left out" in line)
    assert left_out.endswith(
        f"{folder}: left out: 3 files with unknown suffixes (.jpg 1, .txt 1, none 1), 1 hidden file (.hidden.mp4), "
        "1 dangling link (gone.mp4), 2 links to a folder that is searched already (deeper/up, linked/back), "
        "1 empty folder (hollow)"
    )
    assert f"1 more name of files that are answered once ({folder}/0.mp4)" in err
    top = found["a.mp4"]["answers"]
    assert len(top) == 2 and top[0]["score"] >= top[1]["score"] and {one["class"] for one in top} < set(CLASSES)
    counts = "4 answered, 3 not (1 no such file; 1 an empty name; 1 does not open; each is named above)"
    assert f"error: expected to answer every video, found {counts}." in strict.err and strict.out == out
    assert f"{counts}\n" in err and "error" not in err
    assert cv2.imread(str(sheet)) is not None


def test_without_a_bad_video_the_exit_code_is_zero(
    checkpoint: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_tool(predict.main, [str(checkpoint), str(folder / "deeper"), "--top", "9"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r".*deeper/b\.webm: \w+ [\d.]+%, \w+ [\d.]+%, \w+ [\d.]+%", line)


def test_answers_are_those_of_evaluation(tmp_path: Path, folder: Path) -> None:
    data = {"views": {"teacher": {"size": 48}, "student": {"size": 40}}, "sampling": {"num_frames": 3}}
    student = load_trained_student(write_checkpoint(tmp_path / "last.pt", data=data), CPU)
    names, test_views = ["a.mp4", "film", "deeper/b.webm"], TestViews(2, 3)
    videos = [LabeledVideo(name, (0,), name) for name in names]
    video_info = scan(names, root=folder, store=tmp_path / "store")
    loader = clip_loader(
        Manifest.from_video_info(folder, CLASSES, videos, video_info),
        student.config.data,
        views=("student",),
        mode="eval",
        batch_size=4,
        test_views=test_views,
    )
    world, precision = World(0, 1, CPU), Precision("fp32", CPU)
    expected = evaluate(student.model, loader, EvaluationSettings("student", precision), world=world)
    loader.close()
    answers = list(answer_videos(student, [folder / name for name in names], VideoSettings(test_views, batch_size=5)))
    logits = [answer.logits_K for answer in answers if isinstance(answer, Answer)]
    torch.testing.assert_close(torch.stack(logits), expected.logits_NK, rtol=0, atol=1e-5)
    assert len({tuple(one.tolist()) for one in logits}) == 3


def test_a_video_that_fails_when_it_is_read_does_not_stop_the_others(checkpoint: Path, tmp_path: Path) -> None:
    good = numbered_clip(tmp_path / "good.mp4", "libx264", 6)
    changing = numbered_clip(tmp_path / "changing.mp4", "libx264", 6)
    student = load_trained_student(checkpoint, CPU)

    def spoil(noun: str, done: int, total: int) -> None:
        if (noun, done) == ("videos", 0):
            changing.write_bytes(b"another file")

    after_a_scan = VideoSettings(scan="index_only")
    bad, answered = answer_videos(student, [changing, good], after_a_scan, on_progress=spoil)
    assert isinstance(answered, Answer) and answered.file == str(good)
    assert isinstance(bad, NoAnswer) and "bytes as scanned, found 12; scan again" in bad.reason
    changing = good
    (alone,) = answer_videos(student, [good], after_a_scan, on_progress=spoil)
    assert isinstance(alone, NoAnswer) and "\n" not in alone.reason


def test_a_model_of_several_labels_answers_with_sigmoids(tmp_path: Path, folder: Path) -> None:
    student = load_trained_student(write_checkpoint(tmp_path / "last.pt", loss={"task": "sigmoid_bce"}), CPU)
    (answer,) = answer_videos(student, [folder / "a.mp4"])
    assert isinstance(answer, Answer)
    torch.testing.assert_close(answer.scores_K, answer.logits_K.sigmoid())


def broken_weights() -> dict[str, Any]:
    return {"student": {"head.weight": torch.zeros(3, 512)}}


STATES: dict[str, tuple[Callable[[], dict[str, Any]], str]] = {
    "code": (lambda: {"extra": _Evil()}, r"asks for posix\.mkdir, which is code and was not run"),
    "other kind": (
        lambda: {"student": None},
        "expected the checkpoint of a run of reskd train, found one without s",
    ),
    "other schema": (lambda: {"schema_version": 99}, "expected a checkpoint of schema version 1"),
    "other settings": (lambda: {"config": {"name": "x", "modle": 1}}, "expected the settings of an experiment, found"),
    "other classes": (lambda: {"class_names": ["left", "right"]}, "expected weights of resnet18 with 2 classes"),
    "no classes": (lambda: {"class_names": []}, "expected class names, found"),
    "other shapes": (broken_weights, "expected weights of resnet18 with 3 classes"),
    "no tensors": (lambda: {"student": {"head.weight": "x"}}, "expected tensors as the student's weights"),
}


@pytest.mark.parametrize("fault", STATES)
def test_a_checkpoint_that_is_none_is_one_sentence(
    fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make, message = STATES[fault]
    check_fault(write_checkpoint(tmp_path / "last.pt", state=make()), message, capsys)
    assert not (tmp_path / "opened").exists()


@pytest.mark.parametrize("content", ["cut short", "text", "nothing"])
def test_a_damaged_checkpoint_is_one_sentence(
    content: str, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "last.pt"
    whole = checkpoint.read_bytes()
    path.write_bytes({"cut short": whole[: len(whole) // 2], "text": b"hello\n", "nothing": b""}[content])
    check_fault(
        path,
        r"found (a file that (is cut short|holds more than tensors|cannot be read)|one that ends in bytes)",
        capsys,
    )


def test_weights_that_are_not_finite_are_refused(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = torch.load(checkpoint, weights_only=True)
    state["student"]["head.bias"][0] = float("nan")
    torch.save(state, tmp_path / "last.pt")
    check_fault(tmp_path / "last.pt", r"expected finite weights, found NaN or infinity in head\.bias", capsys)


def check_fault(checkpoint: Path, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_tool(predict.main, [str(checkpoint), "any.mp4"]) == 1
    err = capsys.readouterr().err
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert re.search(message, line), line
    assert "Traceback" not in err


def test_a_sheet_without_a_folder_is_refused_at_once(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(checkpoint), "any.mp4", "--sheet", str(tmp_path / "none" / "sheet.png")]
    assert run_tool(predict.main, arguments) == 1
    assert "--sheet: expected a folder at" in capsys.readouterr().err


def test_a_temperature_changes_scores_and_no_answer(
    checkpoint: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = []
    for more in ([], ["--temperature", "2"]):
        assert run_tool(predict.main, [str(checkpoint), str(folder / "a.mp4"), "--json", *more]) == 0
        found.append(json.loads(capsys.readouterr().out)["answers"])
    plain, cooler = found
    assert [one["class"] for one in plain] == [one["class"] for one in cooler]
    logits_K = torch.tensor([one["logit"] for one in plain])
    torch.testing.assert_close(
        torch.tensor([one["score"] for one in cooler]), (logits_K / 2).softmax(0), rtol=0, atol=1e-5
    )
    with pytest.raises(ValueError, match="temperature: expected a number above 0, found 0"):
        load_trained_student(checkpoint, CPU, temperature=0)


@pytest.mark.slow
@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the shared data are not here")
def test_strange_real_files_are_answered_or_named(checkpoint: Path) -> None:
    student = load_trained_student(checkpoint, CPU)
    found = list(answer_videos(student, [SHARED_DATA / "odd"]))
    answered = [one for one in found if isinstance(one, Answer)]
    assert answered and all(torch.isfinite(one.logits_K).all() for one in answered)
    assert all(one.reason for one in found if isinstance(one, NoAnswer))


def test_a_plain_list_may_name_files_that_are_not_there(
    checkpoint: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "list.txt").write_text("a.mp4\nmissing.mp4\nfilm\n")
    arguments = [str(checkpoint), "--list", str(tmp_path / "list.txt"), "--root", str(folder), "--json"]
    assert run_tool(predict.main, arguments) == 0
    found = objects(capsys.readouterr().out)
    assert {Path(name).name: found[name].get("error") for name in found} == {
        "a.mp4": None,
        "film": None,
        "missing.mp4": "no such file",
    }
