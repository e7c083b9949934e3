"""The tools as a user runs them: from videos to a student, faults in a sentence, a run killed and resumed."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from reskd.cli import run_tool
from reskd.commands import evaluate, report, train
from reskd.experiment.stages import load_stages
from reskd.statistics.score_files import read_score_file
from reskd.training.checkpoint import load_checkpoint, save_checkpoint
from tests.conftest import numbered_clip
from tests.reskd.pages.parsed_page import check_page
from tests.reskd.training.tiny import losses

CODECS = {"left": ["libx264"] * 5 + ["libvpx-vp9"], "right": ["libx264"] * 5 + ["mjpeg"]}


@pytest.fixture
def videos(make_folder: Callable[..., Path]) -> Path:
    return make_folder(CODECS, num_frames=12)


def write_config(folder: Path, name: str, videos: Path, **changes: Any) -> Path:
    """A plain model's config; ``changes`` replaces whole groups."""
    tree: dict[str, Any] = {
        "name": name,
        "runs": str(folder / "runs"),
        "device": "cpu",
        "data": {
            "root": str(videos),
            "train": "folders",
            "test_fraction": 0.2,
            "val_fraction": 0.2,
            "scan_cache": str(folder / "scan"),
            "sampling": {"num_frames": 2},
            "views": {"student": {"size": 40, "source": "decoded"}},
            "loader": {"num_workers": 1, "num_threads": 1},
        },
        "student": {"backbone": "resnet18"},
        "optimizer": {"lr": 0.01},
        "training": {"epochs": 2, "global_batch_size": 4, "log_every_steps": 1},
        **changes,
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


def write_student_config(folder: Path, videos: Path, **changes: Any) -> Path:
    stage = write_config(folder, "teacher", videos)
    data = yaml.safe_load(stage.read_text())["data"]
    data["views"] = {"teacher": {"size": 40}, "student": {"size": 32}}
    return write_config(
        folder,
        "student",
        videos,
        **{
            "data": data,
            "teacher": {"stage": str(stage), "batch_norm": "batch_stats"},
            "loss": {"pixel": {"alpha": 10}},
            **changes,
        },
    )


@pytest.mark.slow
def test_one_command_from_videos_to_a_student_that_is_evaluated_and_reported(
    tmp_path: Path, videos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_student_config(tmp_path, videos)
    assert run_tool(train.main, [str(config)]) == 0
    *_, last_line = capsys.readouterr().out.splitlines()
    runs = tmp_path / "runs"
    for name in ("teacher", "student"):
        left = {path.name for path in (runs / name).iterdir()}
        assert left >= {
            "config.yaml",
            "environment.json",
            "splits.csv",
            "last.pt",
            "best.pt",
            "metrics.jsonl",
            "report.md",
            "curves.png",
        }
    lines = [json.loads(line) for line in (runs / "student" / "metrics.jsonl").read_text().splitlines()]
    assert all({"loss/task", "loss/pixel", "train/lr", "speed/data_wait_share"} <= line.keys() for line in lines)
    assert "val/top1" in lines[-1]
    state = load_checkpoint(runs / "student" / "last.pt")
    assert state["class_names"] == ["left", "right"]
    assert state["teacher_hash"] is not None

    assert run_tool(evaluate.main, [str(tmp_path / "teacher.yaml"), str(runs / "teacher" / "last.pt")]) == 0
    words, _, command = last_line.partition(": reskd evaluate ")
    assert words == "to score it and write report.html"
    assert run_tool(evaluate.main, shlex.split(command)) == 0
    result = json.loads((runs / "student" / "evaluation_test_student_last.json").read_text())
    assert result["coverage"] == {"listed": 2, "scored": 2, "named": []}
    assert result["trained_under"] == result["config_hash"]
    assert "shrunk from the teacher's 40x40" in result["protocol"]
    assert result["views"] == {"clips": 1, "crops": 1, "average": "probabilities"}

    several = ["data.sampling.test_clips=2", "data.sampling.test_crops=3", "data.sampling.average_views=logits"]
    arguments = [str(tmp_path / "student.yaml"), str(runs / "student" / "last.pt"), *several]
    assert run_tool(evaluate.main, arguments) == 0
    more = json.loads((runs / "student" / "evaluation_test_student_last_2x3_logits.json").read_text())
    assert more["views"] == {"clips": 2, "crops": 3, "average": "logits"}
    assert "2 clip(s) a video, 2 frames at equal distances, 3 crops along the longer side" in more["protocol"]
    assert "logits averaged" in more["protocol"]
    assert more["coverage"]["scored"] == 2
    assert more["gmacs_per_video"] == pytest.approx(6 * result["gmacs_per_video"])
    capsys.readouterr()
    assert run_tool(report.main, [str(runs / "both"), str(runs / "teacher"), str(runs / "student")]) == 0
    assert "student minus teacher" in capsys.readouterr().out
    assert (runs / "both" / "curves.png").stat().st_size > 1000
    # Each evaluation and the comparison have a page; the last has both models and a picture of each mistake.
    for page in (runs / "student" / "report.html", runs / "both" / "report.html"):
        found = check_page(page.read_text())
        assert {"student", "teacher"} <= set(found.texts)
        assert "no longer there" not in page.read_text() and "not known" not in " ".join(found.texts[3:])
    assert (runs / "student" / "report_2x3_logits.html").is_file()
    scored = read_score_file(runs / "student" / "evaluation_test_student_last.scores.npz")
    assert scored.class_names == ("left", "right") and len(scored.predictions.videos) == 2


@pytest.mark.slow
def test_a_student_of_another_width_that_sees_fewer_frames_is_taught_and_then_evaluated_alone(
    tmp_path: Path, videos: Path
) -> None:
    data = yaml.safe_load(write_config(tmp_path, "teacher", videos).read_text())["data"]
    config = write_student_config(
        tmp_path,
        videos,
        data={
            **data,
            "sampling": {"num_frames": 4},
            "views": {"teacher": {"size": 40}, "student": {"size": 32, "num_frames": 2}},
        },
        student={"backbone": "mobilenet_v2"},
        loss={"pixel": {"alpha": 10, "projection": "linear"}, "logit_map": {"alpha": 1}, "time": "nearest"},
    )
    assert run_tool(train.main, [str(config)]) == 0
    run = tmp_path / "runs" / "student"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert all({"loss/task", "loss/pixel", "loss/logit_map"} <= line.keys() for line in lines)
    state = load_checkpoint(run / "last.pt")
    assert state["loss"]["projection.linear.weight"].shape == (512, 1280)
    assert not any("projection" in name for name in state["student"])
    save_checkpoint(run / "alone.pt", {key: value for key, value in state.items() if key != "loss"})
    assert run_tool(evaluate.main, [str(config), str(run / "alone.pt")]) == 0
    result = json.loads((run / "evaluation_test_student_alone.json").read_text())
    assert "2 of 4 frames" in result["protocol"]


@pytest.mark.slow
def test_a_run_of_another_config_is_refused_and_overwritten_only_when_asked(
    tmp_path: Path, videos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = str(write_config(tmp_path, "plain", videos))
    assert run_tool(train.main, [config, "training.epochs=1"]) == 0
    before = (tmp_path / "runs" / "plain" / "last.pt").read_bytes()
    capsys.readouterr()
    assert run_tool(train.main, [config, "training.epochs=1", "optimizer.lr=0.02"]) == 1
    assert "holds another experiment (1 settings differ: optimizer.lr: 0.01 there, 0.02 now)" in capsys.readouterr().err
    assert run_tool(train.main, [config, "training.epochs=1", "--resume", "none"]) == 1
    assert "holds a started run" in capsys.readouterr().err
    assert (tmp_path / "runs" / "plain" / "last.pt").read_bytes() == before
    assert run_tool(train.main, [config, "training.epochs=1", "optimizer.lr=0.02", "--overwrite"]) == 0
    assert (tmp_path / "runs" / "plain" / "last.pt").read_bytes() != before


Tree = dict[str, Any]


def changed_data(tree: Tree, **changes: Any) -> Tree:
    return {"data": {**tree["data"], **changes}}


def broken_list(folder: Path, tree: Tree, text: str, **changes: Any) -> Tree:
    (folder / "list.csv").write_text(text)
    return changed_data(tree, train=str(folder / "list.csv"), test_fraction=0.0, val_fraction=0.0, **changes)


def unknown_label(folder: Path, tree: Tree) -> Tree:
    (folder / "classes.txt").write_text("left\nright\n")
    return broken_list(folder, tree, "path,label\nleft/00.mp4,lefd\n", classes=str(folder / "classes.txt"))


def other_teacher(folder: Path, tree: Tree) -> Tree:
    from torchvision.models import resnet50

    torch.save(resnet50().state_dict(), folder / "resnet50.pt")
    return {
        "teacher": {
            "model": {"backbone": "resnet18", "weights": str(folder / "resnet50.pt")},
            "batch_norm": "batch_stats",
        }
    }


FAULTS: dict[str, tuple[Callable[[Path, Tree], Tree], str]] = {
    "misspelt key": (lambda f, t: {"optimizer": {"lr": 0.1, "momentun": 0.9}}, "did you mean momentum"),
    "wrong type": (lambda f, t: {"training": {"epochs": "many", "global_batch_size": 4}}, "training.epochs: .*'many'"),
    "no such weights": (lambda f, t: {"student": {"backbone": "resnet18", "weights": "no.pt"}}, "found 'no.pt'"),
    "missing video": (lambda f, t: broken_list(f, t, "path,label\nleft/99.mp4,left\n"), "left/99.mp4"),
    "empty list": (lambda f, t: broken_list(f, t, "path,label\n"), "empty|no videos|found none|no rows"),
    "label outside the classes": (unknown_label, "'lefd'.*'left'"),
    "student larger than teacher": (
        lambda f, t: changed_data(t, views={"teacher": {"size": 40}, "student": {"size": 48}}),
        "student's view .*is larger than the teacher's",
    ),
    "k over T": (
        lambda f, t: changed_data(t, views={"teacher": {"size": 40}, "student": {"size": 32, "num_frames": 3}}),
        "num_frames = 3 is more than sampling.num_frames = 2",
    ),
    "batch over list": (
        lambda f, t: {"training": {"epochs": 1, "global_batch_size": 64}},
        "more than the .* training clips",
    ),
    "other teacher": (other_teacher, "expected weights of resnet18, found resnet50"),
    "no GPU": (lambda f, t: {"device": "cuda"}, "device=cuda: expected a CUDA GPU, found none"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_sentence_and_nothing_is_written(
    tmp_path: Path, videos: Path, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    if fault == "no GPU" and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    make, message = FAULTS[fault]
    config = write_student_config(tmp_path, videos)
    tree = yaml.safe_load(config.read_text())
    tree["teacher"] = {"model": {"backbone": "resnet18"}, "batch_norm": "batch_stats"}
    config.write_text(yaml.safe_dump(tree | make(tmp_path, tree)))
    assert run_tool(train.main, [str(config)]) == 1
    errors = capsys.readouterr().err
    faults = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert len(faults) == 1, errors
    assert re.search(message, faults[0]), faults[0]
    assert "Traceback" not in errors
    assert not (tmp_path / "runs").exists()


def test_a_video_that_does_not_open_is_named_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    videos = tmp_path / "videos"
    for name in ("left", "right"):
        (videos / name).mkdir(parents=True)
        for number in range(3):
            tint = 20 * number + 10 * (name == "right")  # videos of equal content would be one group
            numbered_clip(videos / name / f"{number}.mp4", "libx264", 6, tint=tint)
    (videos / "left" / "broken.mp4").write_bytes(b"not a video")
    config = write_config(tmp_path, "plain", videos, training={"epochs": 1, "global_batch_size": 2})
    assert run_tool(train.main, [str(config)]) == 0
    assert "left/broken.mp4: bad: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "options"),
    [
        ({"test": "test.csv", "stages": [{"name": "teacher"}, {"name": "student"}]}, "--stage student "),
        ({"test_fraction": 0.1}, ""),
        ({"val_fraction": 0.1}, "--split val "),
    ],
)
def test_the_command_to_go_on_with_names_stage_and_list(settings: dict[str, Any], options: str, tmp_path: Path) -> None:
    path = write_config(tmp_path, "x", tmp_path)
    tree = yaml.safe_load(path.read_text())
    tree |= {"stages": settings.pop("stages")} if "stages" in settings else {}
    del tree["data"]["test_fraction"], tree["data"]["val_fraction"]
    tree["data"] |= {"train": "list.csv", **settings}
    path.write_text(yaml.safe_dump(tree))
    *_, config = load_stages(path, overrides := ["data.sampling.num_frames=2"])
    chosen = argparse.Namespace(config=str(path), overrides=overrides)
    found = train.evaluation_of(config, chosen, is_stage="--stage" in options)
    checkpoint = shlex.quote(str(config.folder / "last.pt"))
    assert found == f"reskd evaluate {path} {checkpoint} {options}data.sampling.num_frames=2"


# ------------------------------------------------------------------ killed and resumed, by torchrun


def torchrun(num_processes: int, config: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(num_processes)]
    command += ["--master-port", str(29500 + os.getpid() % 1000), "tools/train.py", str(config), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "RESKD_TEST_MARK": str(config)}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def lines_of(run: Path) -> list[dict[str, float]]:
    path = run / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def processes_of(config: Path) -> list[str]:
    """Command lines of the living processes that the run started; ranks and spawned workers inherit the mark."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"RESKD_TEST_MARK={config}\0" in (entry / "environ").read_text(errors="replace"):
                found.append((entry / "cmdline").read_text().replace("\0", " "))
    return found


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_bit_and_leaves_no_process_behind(tmp_path: Path, videos: Path) -> None:
    training = {"epochs": 4, "global_batch_size": 4, "log_every_steps": 1, "checkpoint_every_steps": 1}
    whole = write_config(tmp_path, "whole", videos, training=training)
    halves = write_config(tmp_path, "halves", videos, training=training)
    recipes = "data.augmentation.rand_augment.num_ops=3", "data.augmentation.random_erasing.probability=0.5"
    output, _ = torchrun(2, whole, *recipes).communicate(timeout=300)
    assert (tmp_path / "runs" / "whole" / "report.md").exists(), output

    shared_before = set(Path("/dev/shm").iterdir())
    run = torchrun(2, halves, *recipes)
    deadline = time.monotonic() + 300
    while len(lines_of(tmp_path / "runs" / "halves")) < 3 and run.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(run.pid, signal.SIGKILL)  # the agent alone: ranks and loader workers must follow by themselves
    run.wait()
    while processes_of(halves) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes_of(halves) == []
    while set(Path("/dev/shm").iterdir()) - shared_before and time.monotonic() < deadline:
        time.sleep(0.1)  # Python's resource tracker removes them after the kill
    assert set(Path("/dev/shm").iterdir()) <= shared_before
    stopped_at = load_checkpoint(tmp_path / "runs" / "halves" / "last.pt")["num_steps"]
    assert 1 <= stopped_at < 8
    shutil.copytree(tmp_path / "runs", tmp_path / "copy")

    output, _ = torchrun(2, halves, *recipes).communicate(timeout=300)
    assert f"step {stopped_at} of 8" in output
    assert losses(lines_of(tmp_path / "runs" / "halves")) == losses(lines_of(tmp_path / "runs" / "whole"))

    # What two processes began, one may finish.
    output, _ = torchrun(1, halves, *recipes, f"runs={tmp_path / 'copy'}").communicate(timeout=300)
    assert "each step has the same clips, but results are not bit-identical" in output
    assert [line["step"] for line in lines_of(tmp_path / "copy" / "halves")] == list(range(1, 9))


def write_several_labels_config(folder: Path, videos: Path, **changes: Any) -> Path:
    lines = [f"{path.relative_to(videos)},{path.parent.name}" for path in sorted(videos.glob("*/*.*"))]
    (folder / "list.csv").write_text("path,label\n" + "\n".join([lines[0] + "|right", *lines[1:]]))
    path = write_config(folder, "several", videos, **changes)
    tree = yaml.safe_load(path.read_text())
    tree["data"] |= {"train": str(folder / "list.csv"), "test": str(folder / "list.csv"), "test_fraction": 0.0}
    tree["data"]["allow_shared_videos"] = True
    path.write_text(yaml.safe_dump(tree))
    return path


def test_several_labels_are_refused_where_the_loss_or_the_metric_is_for_one(
    tmp_path: Path, videos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = str(write_several_labels_config(tmp_path, videos))
    assert run_tool(train.main, [config]) == 1
    fault = capsys.readouterr().err
    assert "1 of 12 videos in data.train have several labels, which loss.task = softmax_ce cannot learn; set" in fault
    assert not (tmp_path / "scan.csv").exists()  # refused before any video is decoded
    assert run_tool(train.main, [config, "loss.task=sigmoid_bce"]) == 1
    assert "gives no top1; set training.selection_metric to map or gap or hit1" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(("task", "scores"), [("sigmoid_bce", "sigmoid"), ("random_label_ce", "softmax")])
def test_several_labels_are_learned_and_scored_by_map(task: str, scores: str, tmp_path: Path, videos: Path) -> None:
    training = {"epochs": 1, "global_batch_size": 4, "log_every_steps": 1, "selection_metric": "map"}
    config = write_several_labels_config(tmp_path, videos, loss={"task": task}, training=training)
    assert run_tool(train.main, [str(config)]) == 0
    run = tmp_path / "runs" / "several"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert (run / "best.pt").exists() and "train/top1" not in lines[0]
    assert run_tool(evaluate.main, [str(config), str(run / "last.pt")]) == 0
    result = json.loads((run / "evaluation_test_student_last.json").read_text())
    assert {"map", "gap", "hit1"} <= set(result["metrics"]) and "top1" not in result["metrics"]
    assert result["protocol"].endswith(f"{scores} scores")
