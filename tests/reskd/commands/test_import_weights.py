from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision

from reskd.commands.import_weights import main
from reskd.models.config import TsnConfig
from reskd.models.families.registry import build_recognizer
from reskd.models.weights.files import read_weight_file
from reskd.models.weights.load import state_hash


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TSN of mmaction2 in all but name: a torchvision backbone, as mmaction2 can use it, and its head."""
    torch.manual_seed(2)
    network = torchvision.models.resnet18(weights=None).state_dict()
    state = {f"backbone.{name}": value for name, value in network.items() if not name.startswith("fc.")}
    state |= {"cls_head.fc_cls.weight": torch.randn(3, 512), "cls_head.fc_cls.bias": torch.randn(3)}
    path = tmp_path_factory.mktemp("theirs") / "epoch_1.pth"
    torch.save({"meta": {}, "state_dict": state}, path)
    return path


def test_every_tensor_has_its_row(theirs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(theirs)])
    printed = capsys.readouterr().out
    assert "renamed   cls_head.fc_cls.weight" in printed
    assert "(mmaction2: resnet18 with 3 classes): 120 loaded, 2 renamed" in printed
    assert "settings: {'family': 'tsn', 'backbone': 'resnet18'}, 3 classes" in printed


def test_what_is_written_is_the_same_recognizer(theirs: Path, tmp_path: Path) -> None:
    written = tmp_path / "tsn.safetensors"
    main([str(theirs), "stage_strides=[1,1,2,2]", "--output", str(written)])
    settings = {"backbone": "resnet18", "stage_strides": (1, 1, 2, 2)}
    models = [build_recognizer(TsnConfig(**settings, weights=str(path)), 3) for path in (theirs, written)]  # type: ignore[arg-type]
    assert state_hash(models[0]) == state_hash(models[1])
    assert (read_weight_file(written).settings or {})["stage_strides"] == [1, 1, 2, 2]
    with pytest.raises(ValueError, match=r"trained with stage_strides \[1, 2, 2, 2\], found \[1, 1, 2, 2\]"):
        build_recognizer(TsnConfig(backbone="resnet18", weights=str(written)), 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["family"], "settings: expected a setting of the form key.sub=value, found 'family'"),
        (["backbone=resnet17"], "settings: backbone: should be 'resnet18'.* found 'resnet17'"),
        (["family=swin", "backbone=swin3d_t"], "expected weights of swin3d_t"),
        (["--output", "x.pth"], "expected a name that ends in .safetensors, found x.pth"),
        (["--classes", "4"], "resnet18 with 4 classes, found resnet18 with 3 classes"),
    ],
)
def test_what_does_not_fit_is_one_sentence(arguments: list[str], message: str, theirs: Path) -> None:
    with pytest.raises(ValueError, match=message):
        main([str(theirs), *arguments])


def test_an_unknown_network_is_described(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(1)}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"1 tensors of an unknown network \(the first is w\)"):
        main([str(tmp_path / "w.pth")])
