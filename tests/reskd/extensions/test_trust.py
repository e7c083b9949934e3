"""Code that only a trained file names is executed for those alone who say so."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import reskd
from reskd.extensions.trust import check_trusted
from reskd.feature_extraction.network import network_of_run
from reskd.inference.export import load_exported_student
from reskd.inference.student import load_trained_student
from reskd.models.config import parse_recognizer
from reskd.models.families.registry import build_recognizer
from reskd.models.weights.files import write_safetensors
from tests.tiny_student import SHRUNK_VIEWS, write_checkpoint

NET = """
from pathlib import Path
from torch import nn
Path(__file__).with_name("executed").touch()
def build(num_classes):
    stem = nn.Conv3d(3, 4, 8, 8, padding=3)
    return nn.Sequential(stem, nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, num_classes))
"""


@pytest.fixture
def network(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "net.py").write_text(NET, encoding="utf-8")
    return {"family": "python", "build": f"{tmp_path}/net.py:build"}


def test_a_checkpoint_alone_executes_nothing(network: dict[str, str], tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "last.pt", student=network)
    (tmp_path / "executed").unlink()
    with pytest.raises(ValueError, match=r"net.py:build, which would be executed; .*--trust-code"):
        load_trained_student(checkpoint, torch.device("cpu"))
    with pytest.raises(ValueError, match="trust_code=True"):
        reskd.load_student(checkpoint, "cpu")
    assert not (tmp_path / "executed").exists()
    student_of_file = reskd.load_student(checkpoint, "cpu", trust_code=True)
    assert student_of_file.scores(torch.zeros((1, 2, 40, 40, 3), dtype=torch.uint8)).shape == (1, 3)


def test_only_code_of_what_is_built_needs_trust(network: dict[str, str], tmp_path: Path) -> None:
    """A student beside a teacher, a loss, a metric and a logger of somebody's code, none of which is used."""
    code = {"build": f"{tmp_path}/net.py:build"}
    checkpoint = write_checkpoint(
        tmp_path / "last.pt",
        data=SHRUNK_VIEWS,
        loss={"prediction": {"alpha": 1}, "terms": {"mine": {"alpha": 1, **code}}},
        teacher={"model": {**network, "weights": "teacher.pt"}, "batch_norm": "running_stats"},
        others={"metrics": {"mine": code}, "loggers": {"mine": code}},
    )
    student = reskd.load_student(checkpoint, "cpu")
    assert student.config.teacher is not None and not (tmp_path / "executed").exists()
    with pytest.raises(ValueError, match=r"net.py:build, which would be executed"):
        network_of_run(checkpoint, which="teacher", device=torch.device("cpu"))
    assert not (tmp_path / "executed").exists()


def test_an_exported_student_alone_executes_nothing(network: dict[str, str], tmp_path: Path) -> None:
    config = parse_recognizer(network)
    model = build_recognizer(config, 2)
    path = tmp_path / "student.safetensors"
    settings = config.model_dump(mode="json")
    write_safetensors(path, model.state_dict(), settings=settings, class_names=["a", "b"])
    with pytest.raises(ValueError, match="--trust-code"):
        load_exported_student(path)
    assert load_exported_student(path, trust_code=True).num_classes == 2


def test_names_of_installed_packages_and_other_families_need_no_word() -> None:
    check_trusted(parse_recognizer({"family": "python", "build": "mine"}), "x.pt", trust_code=False)
    check_trusted(parse_recognizer({"backbone": "resnet18"}), "x.pt", trust_code=False)
    check_trusted(None, "x.pt", trust_code=False)
    with pytest.raises(ValueError, match="os:system"):
        check_trusted(parse_recognizer({"family": "python", "build": "os:system"}), "x.pt", trust_code=False)
