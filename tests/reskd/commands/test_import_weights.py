from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import torch
import torchvision

from reskd.commands.import_weights import main
from reskd.experiment.config import recognizer_from
from reskd.models.config import TsnConfig
from reskd.models.families.registry import build_recognizer
from reskd.models.weights.files import read_weight_file
from reskd.models.weights.load import load_weights, state_hash


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


@pytest.mark.parametrize("form", ["state dict", "of DistributedDataParallel", "of timm's training script"])
def test_an_own_checkpoint_of_timm_becomes_the_same_network(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Finetuned with timm on seven classes: its logits come out of the file that is written."""
    timm = pytest.importorskip("timm")
    torch.manual_seed(5)
    theirs = timm.create_model("resnet18", num_classes=7).eval()
    state = theirs.state_dict()
    if form == "of DistributedDataParallel":
        state = {"state_dict": {f"module.{name}": value for name, value in state.items()}}
    elif form == "of timm's training script":
        other = {name: torch.zeros_like(value) for name, value in state.items()}
        arguments = argparse.Namespace(model="resnet18", lr=0.1)
        state = {"arch": "resnet18", "state_dict": other, "state_dict_ema": state, "args": arguments, "metric": 71.0}
    torch.save(state, tmp_path / "own.pth.tar")
    out = tmp_path / "own.safetensors"
    main([str(tmp_path / "own.pth.tar"), "backbone=timm/resnet18", "weights_head=keep", "--output", str(out)])
    printed = capsys.readouterr().out
    assert ("averaged (state_dict_ema)" in printed) == (form == "of timm's training script")
    assert "122 tensors of timm with 7 classes): 122 renamed" in printed and "7 classes\n" in printed
    mine = build_recognizer(recognizer_from({"backbone": "timm/resnet18"}, where="test"), 7).eval()
    load_weights(mine, str(out))
    frames_NTHWC = torch.randint(0, 256, (2, 1, 64, 64, 3), dtype=torch.uint8)
    config = mine.config
    pixels_NCHW = frames_NTHWC[:, 0].permute(0, 3, 1, 2).float()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (config.pixel_mean, config.pixel_std))
    with torch.no_grad():
        torch.testing.assert_close(mine(frames_NTHWC).logits_NK, theirs((pixels_NCHW - mean) / std))


def test_a_network_of_timm_is_asked_for_by_its_name(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    torch.save(timm.create_model("mobilenetv3_small_050", num_classes=7).state_dict(), tmp_path / "own.pth")
    with pytest.raises(ValueError, match="an unknown network .* one of timm's as backbone=timm/NAME"):
        main([str(tmp_path / "own.pth")])
