"""mmaction2's own modules, built without its runner; importing this file imports mmaction2."""

from __future__ import annotations

import torch
from mmaction.models import ActionDataPreprocessor, I3DHead, ResNet, ResNet3dSlowOnly, ResNetTSM, SwinTransformer3D
from mmaction.models.heads import TSMHead, TSNHead
from torch import Tensor, nn

from tests.interop.mmaction_names import NUM_CLASSES, Family

PIXEL_MEAN, PIXEL_STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


class Theirs(nn.Module):
    """Backbone and head under the names that their recognizers have, in evaluation mode."""

    def __init__(self, family: Family, *, num_frames: int) -> None:
        super().__init__()
        self.family, self.num_frames = family, num_frames
        self.backbone = _backbone(family, num_frames)
        self.cls_head = _head(family, num_frames)
        self.eval()

    @torch.no_grad()
    def forward(self, frames_NTHWC: Tensor) -> tuple[Tensor, Tensor]:
        """(logits_NK, features_NTDHW) of uint8 frames, through their preprocessor too."""
        is_2d = self.family in ("tsn", "tsm")
        # Their decoders hand over NTCHW to 2-D and N(1 clip)CTHW to 3-D recognizers.
        images = frames_NTHWC.permute(0, 1, 4, 2, 3) if is_2d else frames_NTHWC.permute(0, 4, 1, 2, 3)[:, None]
        preprocess = ActionDataPreprocessor(mean=PIXEL_MEAN, std=PIXEL_STD, format_shape="NCHW" if is_2d else "NCTHW")
        inputs = preprocess({"inputs": list(images), "data_samples": None})["inputs"].flatten(0, 1)
        features = self.backbone(inputs)
        if is_2d:
            logits = self.cls_head(features, self.num_frames)
            return logits, features.unflatten(0, (-1, self.num_frames))
        return self.cls_head(features), features.transpose(1, 2)


def _backbone(family: Family, num_frames: int) -> nn.Module:
    if family == "tsn":
        return ResNet(depth=50, norm_eval=False)
    if family == "tsm":
        return ResNetTSM(depth=50, num_segments=num_frames, shift_div=8, norm_eval=False)
    if family == "slow_only":
        return ResNet3dSlowOnly(
            depth=50,
            pretrained=None,
            lateral=False,
            conv1_kernel=(1, 7, 7),
            conv1_stride_t=1,
            pool1_stride_t=1,
            inflate=(0, 0, 1, 1),
            norm_eval=False,
        )
    return SwinTransformer3D("small", patch_size=(2, 4, 4), window_size=(8, 7, 7), patch_norm=True)


def _head(family: Family, num_frames: int) -> nn.Module:
    if family == "tsn":
        return TSNHead(NUM_CLASSES, 2048)
    if family == "tsm":
        return TSMHead(NUM_CLASSES, 2048, num_segments=num_frames, is_shift=True)
    return I3DHead(NUM_CLASSES, 768 if family == "swin" else 2048)
