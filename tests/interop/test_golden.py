"""What mmaction2 answered, without mmaction2: weights under its names, through our loader, give its numbers.

golden/*.json were written by make_golden.py from mmaction2's own modules. tests/interop/test_mmaction2.py is the same
comparison where mmaction2 is installed.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from reskd.models.config import parse_recognizer
from reskd.models.families.registry import build_recognizer
from reskd.models.recognizer import Recognizer
from tests.interop.fixed_weights import fixed_frames, fixed_state
from tests.interop.make_golden import CLIPS, FOLDER, pick
from tests.interop.mmaction_names import FAMILIES, NUM_CLASSES, Family, hash_of, shapes_of

OURS: dict[Family, dict[str, object]] = {
    "tsn": {"family": "tsn", "backbone": "resnet50"},
    "tsm": {"family": "tsm", "backbone": "resnet50"},
    "slow_only": {"family": "slow_only", "backbone": "resnet50"},
    "swin": {"family": "swin", "backbone": "swin3d_s", "window": "published"},
}
# fp32 and other orders of summation; outputs are near 1.
TOLERANCE = 1e-4


def load_ours(family: Family, weights: Path | str) -> Recognizer:
    return build_recognizer(parse_recognizer(OURS[family] | {"weights": str(weights)}), NUM_CLASSES).eval()


@pytest.mark.parametrize("family", FAMILIES)
def test_mmaction2s_weights_give_mmaction2s_answers(family: Family, tmp_path: Path) -> None:
    golden = json.loads((FOLDER / f"{family}.json").read_text())
    shapes = shapes_of(family)
    assert hash_of(shapes) == golden["names_and_shapes"], "mmaction_names.py differs from what mmaction2 had"
    torch.save({"meta": {}, "state_dict": fixed_state(shapes)}, tmp_path / "theirs.pth")
    with torch.no_grad():
        answer = load_ours(family, tmp_path / "theirs.pth")(fixed_frames(f"{family} frames", CLIPS[family]))
    features = answer.features_NTDHW
    assert list(features.shape) == golden["feature_shape"]
    torch.testing.assert_close(answer.logits_NK, torch.tensor(golden["logits"]), atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(torch.tensor(pick(features)), torch.tensor(golden["features"]), atol=TOLERANCE, rtol=0)
    assert float(features.square().mean().sqrt()) == pytest.approx(golden["feature_rms"], abs=TOLERANCE)
