"""Weights for a network of the user's own code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from reskd.models.config import parse_recognizer
from reskd.models.families.registry import build_recognizer
from reskd.models.recognizer import Recognizer
from reskd.models.weights.files import write_safetensors

TINY = f"{Path(__file__).parents[4]}/docs/examples/own_network.py:tiny"


def make(num_classes: int = 5, **settings: Any) -> Recognizer:
    config = {"family": "python", "build": TINY, "arguments": {"width": 4}, **settings}
    return build_recognizer(parse_recognizer(config), num_classes)


@pytest.fixture
def trained() -> Recognizer:
    torch.manual_seed(3)
    return make()


def saved(model: Recognizer, path: Path, prefix: str = "") -> str:
    torch.save({f"{prefix}{name}": value for name, value in model.backbone.state_dict().items()}, path)
    return str(path)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_state_dict_of_the_module_itself_is_loaded(trained: Recognizer, tmp_path: Path, prefix: str) -> None:
    model = make(weights=saved(trained, tmp_path / "w.pt", prefix))
    for name, value in trained.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name


def test_the_head_of_other_classes_stays_new(trained: Recognizer, tmp_path: Path) -> None:
    path = saved(trained, tmp_path / "w.pt")
    model = make(7, weights=path)
    assert torch.equal(model.state_dict()["backbone.stem.weight"], trained.state_dict()["backbone.stem.weight"])
    with pytest.raises(ValueError, match=r"difference at fc.weight \(\(5, 8\) in the file, \(7, 8\) in the model\)"):
        make(7, weights=path, weights_head="keep")
    same = make(weights=path, weights_head="new").state_dict()
    assert not torch.equal(same["backbone.fc.weight"], trained.state_dict()["backbone.fc.weight"])


def test_weights_trained_with_other_settings_are_refused(trained: Recognizer, tmp_path: Path) -> None:
    path = tmp_path / "student.safetensors"
    settings = trained.config.model_dump(mode="json")
    write_safetensors(path, trained.state_dict(), settings=settings, class_names=list("abcde"))
    make(weights=str(path))
    with pytest.raises(ValueError, match="expected weights trained with arguments {'width': 8}, found {'width': 4}"):
        make(weights=str(path), arguments={"width": 8})


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(2)}, tmp_path / "w.pt")
    with pytest.raises(ValueError, match="expected weights of own_network.py:tiny"):
        make(weights=str(tmp_path / "w.pt"))
    with pytest.raises(FileNotFoundError, match="expected 'none', or the path of a file, found 'IMAGENET1K_V1'"):
        make(weights="IMAGENET1K_V1")


CHILDREN = """
from torch import nn

class Net(nn.Module):
    def __init__(self, num_classes, name):
        super().__init__()
        self.add_module(name, nn.Conv3d(3, 4, (1, 8, 8), stride=(1, 8, 8)))
        self.fc = nn.Linear(4, num_classes)
        self.name = name

    def forward(self, pictures):
        features = self.get_submodule(self.name)(pictures)
        return {"logits": self.fc(features.mean((2, 3, 4))), "features": features}

def build(num_classes, name):
    return Net(num_classes, name)
"""


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("name", ["backbone", "module", "body"])
def test_a_module_may_have_any_children(name: str, prefix: str, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(CHILDREN)
    config = {"build": f"{tmp_path}/net.py:build", "arguments": {"name": name}}
    torch.manual_seed(3)
    trained = make(**config)
    model = make(weights=saved(trained, tmp_path / "w.pt", prefix), **config)
    for key, value in trained.state_dict().items():
        assert torch.equal(model.state_dict()[key], value), key


NO_HEAD = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, num_classes))

    def forward(self, pictures):
        return pictures.mean((2, 3, 4)) @ self.weight
"""


def test_a_new_head_needs_a_last_layer_that_can_be_told(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NO_HEAD)
    config: dict[str, Any] = {"build": f"{tmp_path}/net.py:Net", "arguments": {}}
    path = saved(make(**config), tmp_path / "w.pt")
    make(**config, weights=path)
    with pytest.raises(ValueError, match="last layer cannot be told, found new; set head to that layer's name"):
        make(**config, weights=path, weights_head="new")
