"""TSM's temporal shift (arXiv:1811.08383): some channels of a frame come from its neighbors in time.

Shape letters: N clips, T frames, B = N * T, C channels, H W heights and widths.

Note [How a layer knows T]
A 2-D network has frames in its batch and no time axis, and a torchvision block passes its layers one tensor. So all
shifted layers of a network share one ``ClipLength``, which the recognizer sets before each pass. It is a plain
number: torch.compile guards it, torch.export reads it while tracing, and a copied or pickled model has its own.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STAGES = ("layer1", "layer2", "layer3", "layer4")
# TSM's code shifts every second block if the third stage has at least this many: ResNet-101 and 152.
_BLOCKS_OF_A_DEEP_STAGE = 23


class ClipLength:
    """T of the pass in progress. See Note [How a layer knows T]."""

    def __init__(self) -> None:
        self.num_frames = 1


class ShiftedConv2d(nn.Conv2d):
    """A convolution that takes some channels from the next and the previous frame.

    Args:
        convolution: without bias; its weight is reused and keeps its name.
        clip: holds T; the batch is a whole number of clips.
        shift_divisor: 1/shift_divisor of the channels comes from the next frame, as many from the previous.
    """

    def __init__(self, convolution: nn.Conv2d, *, clip: ClipLength, shift_divisor: int) -> None:
        assert convolution.bias is None
        super().__init__(
            convolution.in_channels,
            convolution.out_channels,
            convolution.kernel_size,  # type: ignore[arg-type]
            stride=convolution.stride,  # type: ignore[arg-type]
            padding=convolution.padding,  # type: ignore[arg-type]
            bias=False,
            device="meta",
        )
        self.weight = convolution.weight
        self.clip = clip
        self.num_shifted = convolution.in_channels // shift_divisor

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return super().forward(
            shift_in_time(images_BCHW, num_frames=self.clip.num_frames, num_shifted=self.num_shifted)
        )


def shift_in_time(images_BCHW: Tensor, *, num_frames: int, num_shifted: int) -> Tensor:
    """The first ``num_shifted`` channels from the next frame, as many from the previous, zeros beyond the clip.

    With one channel each and frames 1 2 3: channel 0 becomes 2 3 0, channel 1 becomes 0 1 2, the others stay.
    Channels-last in, channels-last out. Result and gradient are written once, their shifted channels twice.

    Args:
        images_BCHW: B is a multiple of ``num_frames``.
    """
    clips_NTHWC = images_BCHW.unflatten(0, (-1, num_frames)).permute(0, 1, 3, 4, 2)
    sizes = [num_shifted, num_shifted, clips_NTHWC.shape[-1] - 2 * num_shifted]
    # split has one cat as its gradient; three slices would have three tensors of full size and two sums.
    from_next, from_last, unmoved = clips_NTHWC.split(sizes, dim=-1)
    parts = [_move(from_next, frames=-1), _move(from_last, frames=1), unmoved]
    return torch.cat(parts, dim=-1).permute(0, 1, 4, 2, 3).flatten(0, 1)


def shift_residual_blocks(resnet: nn.Module, *, shift_divisor: int) -> ClipLength:
    """Shift the first convolution of each residual branch, in place; parameters and their names stay.

    Args:
        resnet: with torchvision's ``layer1`` to ``layer4``.
    """
    clip = ClipLength()
    every = 2 if len(resnet.get_submodule("layer3")) >= _BLOCKS_OF_A_DEEP_STAGE else 1  # type: ignore[arg-type]
    for name in STAGES:
        for block in list(resnet.get_submodule(name).children())[::every]:
            assert isinstance(block.conv1, nn.Conv2d)
            block.conv1 = ShiftedConv2d(block.conv1, clip=clip, shift_divisor=shift_divisor)
    return clip


def _move(clips_NTHWC: Tensor, *, frames: int) -> Tensor:
    """Delay by ``frames``: zeros enter at one end, as many frames leave at the other."""
    return F.pad(clips_NTHWC, (0, 0, 0, 0, 0, 0, frames, -frames))
