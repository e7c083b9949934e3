"""Backbones: networks from frames or clips to feature maps.

For other folders:
    slow_only: build_slow_only, inflate_state
    swin: build_swin, PATCH_FRAMES
    temporal_shift: ClipLength, shift_residual_blocks, ShiftedConv2d
    torchvision_2d: build_backbone
"""
