"""The output of every recognizer.

Shape letters: N clips, T feature frames (may be fewer than the clip's), D feature channels,
H W feature grid, K classes, E embedding size, G blocks of frames.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from reskd.choices import ScoreKind


class RecognizerOutput(NamedTuple):
    """Logits and features of a batch of clips.

    Attributes:
        logits_NK: class scores of each clip, before softmax.
        features_NTDHW: last feature map before pooling, frame by frame; ``flatten(0, 1)`` is channels-last. None for
            networks on features.
        embedding_NE: one vector per clip, E of "Efficient Video Classification Using Fewer Frames": the output of an
            aggregator, before the head; None without an aggregator.
        logit_map_NTKHW: class scores at each location of the features from the model's own head, if
            ``gives_logit_map``; channels-last within a frame.
        frame_logits_NTK: class scores of each feature frame, the head's of its mean features, if
            ``gives_frame_logits``.
        block_states_NGE: H-RNN's state after each block of a clip's frames, if ``gives_block_states``; blocks that a
            clip does not fill come first and are 0. The last is the embedding.
        block_valid_NG: bool, True where the clip fills the block; as block_states_NGE.
    """

    logits_NK: Tensor
    features_NTDHW: Tensor | None
    embedding_NE: Tensor | None = None
    logit_map_NTKHW: Tensor | None = None
    frame_logits_NTK: Tensor | None = None
    block_states_NGE: Tensor | None = None
    block_valid_NG: Tensor | None = None


def probabilities(logits: Tensor, scores: ScoreKind, temperature: float = 1.0) -> Tensor:
    """The probability of each class, which is the last dimension.

    Args:
        temperature: divides the logits; above 1 the probabilities are less certain.
    """
    logits = logits if temperature == 1 else logits / temperature
    return logits.softmax(-1) if scores == "softmax" else logits.sigmoid()
