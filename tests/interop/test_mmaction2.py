"""Against mmaction2's own modules: the same weights and the same frames give the same logits and features.

Skipped where mmaction2 cannot be imported. tests/interop/README.md says how to install it beside this project (three
commands); then, from the root of the project:

    python -m pytest tests/interop -rs

test_golden.py keeps the comparison alive without mmaction2.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from reskd.models.config import parse_recognizer
from reskd.models.families.registry import build_recognizer
from reskd.models.recognizer import Recognizer
from tests.interop.fixed_weights import fixed_frames, fixed_state
from tests.interop.mmaction_names import FAMILIES, NUM_CLASSES, Family, shapes_of
from tests.interop.test_golden import OURS, TOLERANCE, load_ours

try:
    from tests.interop.mmaction_models import Theirs
except Exception as error:  # it asserts on versions, and fails to import in many other ways
    pytest.skip(f"mmaction2 cannot be imported here ({str(error)[:200]})", allow_module_level=True)

# (T, H, W); Swin at 20 frames has more maps than its window is long, so it shifts in time.
CLIPS: dict[Family, tuple[tuple[int, int, int], ...]] = {
    "tsn": ((2, 224, 224), (3, 112, 112), (2, 96, 64)),
    "tsm": ((4, 224, 224), (3, 112, 112), (8, 96, 64)),
    "slow_only": ((4, 224, 224), (8, 112, 112), (3, 96, 64)),
    "swin": ((8, 224, 224), (20, 112, 112), (4, 96, 64)),
}


def _theirs(family: Family, num_frames: int) -> Theirs:
    theirs = Theirs(family, num_frames=num_frames)
    keys = theirs.load_state_dict(fixed_state(shapes_of(family)), strict=False)
    assert not keys.unexpected_keys
    assert all(key.endswith("relative_position_index") for key in keys.missing_keys)
    return theirs


def _save_as_mmengine_does(theirs: Theirs, path: Path) -> None:
    """With the log that its runner keeps in every checkpoint of a training run."""
    from mmengine.logging import MessageHub
    from mmengine.runner.checkpoint import get_state_dict, save_checkpoint, weights_to_cpu

    hub = MessageHub.get_instance("interop")
    hub.update_scalar("train/loss", 0.5)
    hub.update_info("iter", 7)
    content = {
        "meta": {"epoch": 1, "iter": 7, "cfg": "model = dict()", "time": "now"},
        "state_dict": weights_to_cpu(get_state_dict(theirs)),
        "message_hub": hub.state_dict(),
    }
    save_checkpoint(content, str(path))


def _compare(theirs: Theirs, ours: Recognizer, frames: Tensor) -> None:
    logits, features = theirs(frames)
    with torch.no_grad():
        answer = ours(frames)
    assert logits.abs().max() > 0.1
    torch.testing.assert_close(answer.logits_NK, logits, atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(answer.features_NTDHW, features, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize(
    ("family", "clip"), [(family, clip) for family in FAMILIES for clip in CLIPS[family]], ids=lambda value: str(value)
)
def test_logits_and_features_are_theirs(family: Family, clip: tuple[int, int, int], tmp_path: Path) -> None:
    theirs = _theirs(family, clip[0])
    _save_as_mmengine_does(theirs, tmp_path / "epoch_1.pth")
    frames = fixed_frames(f"{family} {clip}", (2 if clip[1] < 200 else 1, *clip, 3))
    _compare(theirs, load_ours(family, tmp_path / "epoch_1.pth"), frames)


@pytest.mark.parametrize("backbone", ["resnet18", "resnet101"])
@pytest.mark.parametrize("family", ["tsn", "tsm"])
def test_other_depths_are_theirs_too(family: Family, backbone: str, tmp_path: Path) -> None:
    """Their TSM shifts every second block of a ResNet-101."""
    from mmaction.models import ResNet, ResNetTSM, TSNHead

    depth = int(backbone.removeprefix("resnet"))
    theirs = _theirs(family, 4)
    theirs.backbone = ResNetTSM(depth=depth, num_segments=4) if family == "tsm" else ResNet(depth=depth)
    theirs.cls_head = TSNHead(NUM_CLASSES, 512 if depth == 18 else 2048)
    shapes = {name: tuple(value.shape) for name, value in theirs.eval().state_dict().items()}
    theirs.load_state_dict(fixed_state(shapes))
    torch.save({"state_dict": theirs.state_dict()}, tmp_path / "theirs.pth")
    settings = {**OURS[family], "backbone": backbone, "weights": str(tmp_path / "theirs.pth")}
    ours = build_recognizer(parse_recognizer(settings), NUM_CLASSES).eval()
    _compare(theirs, ours, fixed_frames(f"{family} {backbone}", (1, 4, 64, 64, 3)))
