"""Write golden/<family>.json: what mmaction2's modules answer with weights and frames of fixed_weights.py.

    python -m tests.interop.make_golden        (needs mmaction2; tests/interop/README.md says how)

No weights are stored: tests/interop/test_golden.py makes them again from the rule, under mmaction2's names, loads them
through our loader and compares. A few numbers of each output are enough: every weight has a say in each.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

from tests.interop.fixed_weights import fixed_frames, fixed_state
from tests.interop.mmaction_names import FAMILIES, Family, hash_of, shapes_of

FOLDER = Path(__file__).parent / "golden"
NUM_PICKED = 12
# (N, T, H, W, 3): not square, T small, windows of Swin neither whole nor unshrunk.
CLIPS: dict[Family, tuple[int, int, int, int, int]] = {
    "tsn": (2, 3, 64, 96, 3),
    "tsm": (2, 3, 96, 64, 3),
    "slow_only": (1, 4, 64, 80, 3),
    "swin": (1, 6, 64, 72, 3),
}


def pick(features: Tensor) -> list[float]:
    """Values spread evenly over a tensor."""
    flat = features.reshape(-1)
    return [float(value) for value in flat[:: len(flat) // NUM_PICKED][:NUM_PICKED]]


def main() -> None:
    import mmaction

    from tests.interop.mmaction_models import Theirs

    FOLDER.mkdir(exist_ok=True)
    for family in FAMILIES:
        frames = fixed_frames(f"{family} frames", CLIPS[family])
        theirs = Theirs(family, num_frames=CLIPS[family][1])
        shapes = shapes_of(family)
        # Constants of the network, not weights.
        names = {name for name in theirs.state_dict() if not name.endswith("relative_position_index")}
        left_out = theirs.load_state_dict(fixed_state(shapes), strict=False)
        assert names == set(shapes) and not left_out.unexpected_keys, f"{family}: mmaction2 has other names"
        logits, features = theirs(frames)
        golden = {
            "made_with": f"mmaction2 {mmaction.__version__}, torch {torch.__version__.partition('+')[0]}",
            "names_and_shapes": hash_of({name: tuple(theirs.state_dict()[name].shape) for name in names}),
            "clip_shape": CLIPS[family],
            "feature_shape": list(features.shape),
            "logits": logits.tolist(),
            "features": pick(features),
            "feature_rms": float(features.square().mean().sqrt()),
        }
        path = FOLDER / f"{family}.json"
        path.write_text(json.dumps(golden, indent=1) + "\n")
        print(f"{path.name}: logits {[round(value, 3) for value in logits[0].tolist()]}")


if __name__ == "__main__":
    main()
