"""Where a network sees evidence for a class, and where it is active: a map for each frame of its last feature map.

Shape letters: N clips, T frames, D feature channels, h w the feature map, K classes.

Note [Evidence is features times gradient]
Class activation mapping (Zhou et al., CVPR 2016, arXiv:1512.04150) weights the channels of the feature map with the
class's row of a linear head behind the mean over space and time: evidence = w_k . f. The gradient of the logit with
respect to f is w_k / (T h w), so T h w times the sum over channels of f * gradient is the same map, and its mean is the
logit without the bias. Written so, it needs no linear head: behind an aggregator, which takes the mean over space of
each frame, the gradient is constant within a frame, and the map is Grad-CAM's (Selvaraju et al., ICCV 2017) of that
frame, with its sign.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from reskd.models.recognizer import Recognizer


class ClipMaps(NamedTuple):
    """A clip's scores, and its maps for one class.

    Attributes:
        logits_K: on the CPU.
        class_number: the class of the evidence.
        maps_Thw: fp32, on the CPU.
    """

    logits_K: Tensor
    class_number: int
    maps_Thw: Tensor


def class_evidence(model: Recognizer, frames_THWC: Tensor, valid_T: Tensor, *, class_number: int | None) -> ClipMaps:
    """The evidence for a class; see Note [Evidence is features times gradient].

    Args:
        model: in eval mode, with trainable weights, so that its output has a gradient with respect to its features.
        frames_THWC, valid_T: on its device.
        class_number: None: the class of the highest logit.
    """
    output = model(frames_THWC[None], valid_T[None])
    logits_K, features_NTDHW = output.logits_NK[0], output.features_NTDHW
    assert features_NTDHW is not None
    chosen = int(logits_K.argmax()) if class_number is None else class_number
    (gradient_NTDHW,) = torch.autograd.grad(logits_K[chosen], features_NTDHW)
    _, num_frames, _, height, width = features_NTDHW.shape
    maps_Thw = (gradient_NTDHW * features_NTDHW.detach()).sum(2)[0] * (num_frames * height * width)
    return ClipMaps(logits_K.detach().float().cpu(), chosen, maps_Thw.float().cpu())


@torch.no_grad()
def activation(model: Recognizer, frames_THWC: Tensor, valid_T: Tensor) -> ClipMaps:
    """The activation-based attention of Figure 4 (b) of the ResKD paper: the sum over channels of f^2.

    Source: Zagoruyko and Komodakis, "Paying More Attention to Attention", ICLR 2017, arXiv:1612.03928, with p = 2. The
    map is of no class; ``class_number`` is that of the highest logit.
    """
    output = model(frames_THWC[None], valid_T[None])
    assert output.features_NTDHW is not None
    logits_K = output.logits_NK[0].float().cpu()
    return ClipMaps(logits_K, int(logits_K.argmax()), output.features_NTDHW[0].square().sum(1).float().cpu())
