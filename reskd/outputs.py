"""What every recognizer returns.

Shape letters: N clips, T frames (of the features, which may be fewer than of the clip), D feature channels,
H W feature grid, K classes, E code size.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from torch import Tensor

ScoreKind = Literal["softmax", "sigmoid"]  # what logits were trained to be


class RecognizerOutput(NamedTuple):
    """Answers and features of a batch of clips.

    Attributes:
        logits_NK: class scores of each clip, before softmax.
        features_NTDHW: last feature map before pooling, frame by frame; ``flatten(0, 1)`` is channels-last. None where
            the frames came as features and there is no map.
        code_NE: one vector a clip, E of "Efficient Video Classification Using Fewer Frames": what an aggregator makes
            of all frames, before the head; where the model has one.
        logit_map_NTKHW: class scores of each place of the features by the model's own head, where it was asked for
            them; channels-last within a frame.
    """

    logits_NK: Tensor
    features_NTDHW: Tensor | None
    embedding_NE: Tensor | None = None
    logit_map_NTKHW: Tensor | None = None
