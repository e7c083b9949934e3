"""Networks of the user's: their sizes are found, their parts taken, and misfits are refused before any video."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from reskd.models.config import parse_recognizer
from reskd.models.families.python_recognizer import PythonRecognizer
from reskd.models.families.registry import build_recognizer
from reskd.outputs import RecognizerOutput
from reskd.profiling.flops import count_macs
from tests.reskd.models.families.families import NUM_CLASSES, make_clips

EXAMPLES = Path(__file__).parents[4] / "docs/examples"
TINY = f"{EXAMPLES}/own_network.py:tiny"
VIDEOMAE = f"{EXAMPLES}/own_network.py:videomae"
SMALL = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8, "patch_size": 16}
FILE = """
import torch
from torch import nn
class Answers(nn.Module):
    def __init__(self, answer):
        super().__init__()
        self.scale, self.answer = nn.Parameter(torch.ones(())), answer
    def forward(self, pictures):
        return self.answer(pictures.mean((2, 3, 4))[:, :1] * self.scale)

def scores(num_classes):
    return Answers(lambda x: x.expand(-1, num_classes))
def too_few(num_classes):
    return Answers(lambda x: x.expand(-1, num_classes - 1))
def of_frames(num_classes):
    return Answers(lambda x: x.expand(-1, num_classes).repeat(4, 1))
def text(num_classes):
    return Answers(lambda x: "cat")
def no_logits(num_classes):
    return Answers(lambda x: {"scores": x})
def flat_map(num_classes):
    return Answers(lambda x: {"logits": x.expand(-1, num_classes), "features": x})
def three_frames(num_classes):
    maps = lambda x: x[:, :, None, None, None].expand(-1, 2, 3, 1, 1)
    return Answers(lambda x: {"logits": x.expand(-1, num_classes), "features": maps(x)})
def with_embedding(num_classes):
    return Answers(lambda x: {"logits": x.expand(-1, num_classes), "embedding": x.expand(-1, 6)})
def reads_values(num_classes):
    return Answers(lambda x: x.expand(-1, num_classes) * (1 if float(x.sum()) < 1e9 else 2))
def no_module(num_classes):
    return lambda pictures: pictures
def no_weights(num_classes):
    return nn.Flatten()
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("own") / "net.py"
    path.write_text(FILE, encoding="utf-8")
    return str(path)


def make(build: str, **settings: Any) -> PythonRecognizer:
    torch.manual_seed(0)
    model = build_recognizer(parse_recognizer({"family": "python", "build": build, **settings}), NUM_CLASSES)
    assert isinstance(model, PythonRecognizer)
    return model


def outputs(model: PythonRecognizer, num_frames: int = 4, size: int = 64) -> RecognizerOutput:
    model.check_shape((num_frames, size, size))
    with torch.no_grad():
        found: RecognizerOutput = model.eval()(make_clips(2, num_frames, size, size))
    return found


TORCHVISION = {
    "r3d_18": ({"build": "torchvision.models.video:r3d_18", "features": "layer4"}, (4, 64), (1, 512, 4)),
    "swin3d_t": (
        {"build": "torchvision.models.video:swin3d_t", "features": "features", "features_layout": "NTHWD"},
        (4, 64),
        (2, 768, 2),
    ),
    "resnet18 on frames": (
        {"build": "torchvision.models:resnet18", "input": "BCHW", "features": "layer4"},
        (3, 64),
        (3, 512, 2),
    ),
    "own": ({"build": TINY}, (4, 64), (4, 64, 2)),
}


@pytest.mark.parametrize("name", TORCHVISION)
def test_a_network_is_taken_as_it_is(name: str) -> None:
    settings, (num_frames, size), (feature_frames, dim, side) = TORCHVISION[name]
    model = make(**settings)
    found = outputs(model, num_frames, size)
    assert found.logits_NK.shape == (2, NUM_CLASSES)
    assert found.features_NTDHW is not None
    assert found.features_NTDHW.shape == (2, feature_frames, dim, side, side)
    assert (model.feature_dim, model.num_feature_frames(num_frames)) == (dim, feature_frames)
    assert found.features_NTDHW.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)


def test_a_hugging_face_network_gives_its_tokens_as_a_map() -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    model = make(VIDEOMAE, input="NTCHW", arguments={"frames": 4, "size": 48, **SMALL})
    found = outputs(model, 4, 48)
    assert found.features_NTDHW is not None and found.features_NTDHW.shape == (2, 2, 24, 3, 3)
    assert model.head_prefix == "backbone.network.classifier."


def test_the_map_is_the_modules_own_output() -> None:
    model = make("torchvision.models:resnet18", input="BCHW", features="layer4")
    clips = make_clips(2, 3, 64, 64)
    found = outputs(model, 3)
    network = model.backbone
    stem = nn.Sequential(*list(network.children())[:-2])
    pictures = (clips - model.pixel_mean_C) / model.pixel_std_C
    with torch.no_grad():
        maps = stem(pictures.flatten(0, 1).permute(0, 3, 1, 2))
        logits = network.fc(maps.mean((2, 3))).unflatten(0, (2, 3))
    assert found.features_NTDHW is not None
    torch.testing.assert_close(found.features_NTDHW.flatten(0, 1), maps, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.logits_NK, logits.mean(1), rtol=1e-4, atol=1e-4)


def test_single_frames_have_scores_of_their_own_if_a_loss_asks() -> None:
    model = make("torchvision.models:resnet18", input="BCHW")
    model.gives_frame_logits = True
    found = outputs(model, 3)
    assert found.frame_logits_NTK is not None
    torch.testing.assert_close(found.frame_logits_NTK.mean(1), found.logits_NK)
    with pytest.raises(ValueError, match="loss.logit_map needs the network's scores at every location"):
        model.gives_logit_map = True
    with pytest.raises(ValueError, match="loss.frame needs .* with input NCTHW"):
        make(TINY).gives_frame_logits = True


def test_an_embedding_is_found(file: str) -> None:
    model = make(f"{file}:with_embedding")
    assert outputs(model).embedding_NE is not None
    assert (model.embedding_dim, model.feature_dim) == (6, None)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_code_that_cannot_run_on_the_meta_device_is_run(file: str, device: str) -> None:
    with torch.device(device):
        model = make(f"{file}:reads_values").to(device)
    model.check_shape((4, 64, 64))
    assert model.training and model.feature_dim is None


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "too_few",
            r"net.py:too_few to return 5 scores for each clip, found \(2, 4\) for 2 clips of 4 frames",
        ),
        ("of_frames", r"found \(8, 5\) for 2 clips of 4 frames; .* change input"),
        ("text", r"to return class scores \(N, K\), alone or as logits, found str"),
        ("no_logits", "alone or as logits, found dict"),
        ("flat_map", r"as NDTHW \(features_layout\), found a tensor of shape \(2, 1\)"),
        ("three_frames", "to have 4 frames, or a whole part of them, found 3"),
    ],
)
def test_what_a_network_must_not_return_is_one_sentence(file: str, name: str, message: str, device: str) -> None:
    with torch.device(device):
        model = make(f"{file}:{name}").to(device)
    with pytest.raises(ValueError, match=message) as caught:
        model.check_shape((4, 64, 64))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"build": "no_module"}, "to return a torch.nn.Module, found function"),
        ({"build": "no_weights"}, "expected a network with parameters"),
        ({"build": "scores", "features": "layer4"}, "features: expected the name of a module of net.py:scores"),
        ({"build": "scores", "head": "fc"}, "head: expected the name of a module of net.py:scores, found 'fc'"),
        ({"build": "scores", "batch_norm": "running_stats"}, "a backbone with batch norm, found net.py:scores"),
    ],
)
def test_a_network_that_is_none_is_refused(file: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**{**settings, "build": f"{file}:{settings['build']}"})


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (
            (4, 4, 4),
            r"own_network.py:tiny cannot take 4 frames of 4 x 4 as NCTHW: RuntimeError: .*\(own_network",
        ),
        ((4, 1024), "found .* of features; use family features"),
    ],
)
def test_a_view_that_a_network_cannot_take_is_refused(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(TINY).check_shape(shape)


def test_finding_the_sizes_changes_nothing() -> None:
    model = make(TINY)
    before, state = torch.get_rng_state(), {name: value.clone() for name, value in model.state_dict().items()}
    model.check_shape((4, 64, 64))
    assert model.training and torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_the_last_layer_is_the_head() -> None:
    assert make(TINY).head_prefix == "backbone.fc."
    assert make(TINY, head="body.2").head_prefix == "backbone.body.2."


def test_operations_are_counted_with_the_head_apart() -> None:
    model = make("torchvision.models:resnet18", input="BCHW").eval()
    ours = build_recognizer(parse_recognizer({"backbone": "resnet18"}), NUM_CLASSES).eval()
    counted, expected = count_macs(model, (3, 64, 64)), count_macs(ours, (3, 64, 64))
    assert counted.parameters == expected.parameters
    assert counted.total - counted.head == expected.total - expected.head
    assert counted.head == 3 * expected.head  # once a frame
