"""Backbones: networks from frames or clips to feature maps.

For other folders:
    blocks: layers_below_head
    frame_backbone: build_frame_backbone
    kept_parts: keep_parts
    recomputation: recompute_blocks
    slow_only: build_slow_only, inflate_state
    swin: build_swin, PATCH_FRAMES
    temporal_shift: ClipLength, shift_residual_blocks, ShiftedConv2d
    timm_2d: TimmBackbone
"""
