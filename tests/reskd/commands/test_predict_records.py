"""Records of features in, the answers of evaluation out; what has no answer is named and stops nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from dali_pipes.features.manifest import build_feature_manifests
from dali_pipes.features.sequence_example import write_video
from dali_pipes.features.tfrecord import RecordWriter
from reskd.cli import run_tool
from reskd.commands import predict
from reskd.inference.answers import NoAnswer
from reskd.inference.feature_records import RecordAnswer, answer_records
from reskd.inference.student import TrainedStudent, load_trained_student
from tests.dali_pipes.loaders import feature_loader
from tests.reskd.feature_files import DIM, write_features
from tests.tiny_student import write_feature_checkpoint

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_features(tmp_path_factory.mktemp("features"))


@pytest.fixture(scope="module")
def checkpoint(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_feature_checkpoint(tmp_path_factory.mktemp("run") / "last.pt", root=folder)


@pytest.fixture(scope="module")
def student(checkpoint: Path) -> TrainedStudent:
    return load_trained_student(checkpoint, CPU)


def evaluated(student: TrainedStudent, batch_size: int) -> torch.Tensor:
    """logits_NK of the test list, by the loader that evaluation reads with."""
    data = student.config.features
    manifest = build_feature_manifests(data, seed=0, splits=("test",))["test"]
    loader = feature_loader(manifest, data, views=("student",), mode="eval", batch_size=batch_size)
    with torch.no_grad():
        views = (batch.views["student"] for batch in loader)
        return torch.cat([student.model(view.data, view.valid_NT).logits_NK for view in views])


def test_the_answers_are_those_of_evaluation(folder: Path, student: TrainedStudent) -> None:
    answers = list(answer_records(student, [folder / "test.tfrecord"], batch_size=8))
    assert all(isinstance(one, RecordAnswer) for one in answers)
    found = [one for one in answers if isinstance(one, RecordAnswer)]
    assert [one.video_id for one in found] == [f"test{number}" for number in range(24)]
    assert torch.equal(torch.stack([one.logits_K for one in found]), evaluated(student, 8))
    assert torch.equal(found[0].scores_K, found[0].logits_K.sigmoid())
    assert found[3].file.startswith(f"{folder}/test.tfrecord, byte ")


def test_labels_are_not_needed_and_one_bad_record_stops_nothing(tmp_path: Path, student: TrainedStudent) -> None:
    rng = np.random.default_rng(1)
    with RecordWriter(tmp_path / "a.tfrecord") as writer:
        for number, (name, num_frames) in enumerate((("rgb", 5), ("other", 5), ("rgb", 0), ("rgb", 3))):
            groups = {name: rng.integers(0, 256, (num_frames, DIM), dtype=np.uint8)}
            write_video(writer, video_id=f"v{number}", labels=[], groups=groups)
    found = list(answer_records(student, [tmp_path / "a.tfrecord"]))
    assert [type(one) for one in found] == [RecordAnswer, NoAnswer, NoAnswer, RecordAnswer]
    reasons = [one.reason for one in found if isinstance(one, NoAnswer)]
    assert reasons == ["expected a feature list rgb, found ['other']", "expected at least one frame, found none"]


def test_damaged_and_foreign_files_are_named(folder: Path, tmp_path: Path, student: TrainedStudent) -> None:
    cut = tmp_path / "b_cut.tfrecord"
    shutil.copy(folder / "test.tfrecord", cut)
    cut.write_bytes(cut.read_bytes()[:-30])
    (tmp_path / "a_foreign.tfrecord").write_bytes(b"no records at all, but more bytes than a header has")
    *rest, last = answer_records(student, [tmp_path, tmp_path / "none.tfrecord"])
    assert isinstance(last, NoAnswer) and "none.tfrecord" in last.file
    assert isinstance(rest[0], NoAnswer) and "a_foreign.tfrecord" in rest[0].file
    assert [type(one) for one in rest[1:]] == [RecordAnswer] * 23 + [NoAnswer]


def test_the_tool_prints_a_line_a_record(folder: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_tool(predict.main, [str(checkpoint), str(folder / "test.tfrecord"), "--json", "--top", "1"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 24
    assert lines[5]["video"] == "test5"
    assert set(lines[5]["answers"][0]) == {"class", "score", "logit"}


@pytest.mark.parametrize("option", [["--clips", "2"], ["--crops", "3"], ["--scan", "decode"], ["--sheet", "a.png"]])
def test_what_is_for_videos_is_refused(
    option: list[str], folder: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_tool(predict.main, [str(checkpoint), str(folder / "test.tfrecord"), *option]) == 1
    assert f"{option[0]} is for videos" in capsys.readouterr().err


def test_a_folder_of_records_is_searched_through_links(
    folder: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "linked").symlink_to(folder)
    (tmp_path / "notes.txt").touch()
    assert run_tool(predict.main, [str(checkpoint), str(tmp_path), "--json", "--top", "1"]) == 0
    out, err = capsys.readouterr()
    assert {json.loads(line)["file"].partition(",")[0] for line in out.splitlines()} == {
        f"{tmp_path}/linked/{split}.tfrecord" for split in ("test", "train")
    }
    assert f"{tmp_path}: left out: 1 file with an unknown suffix (.txt 1)" in err
