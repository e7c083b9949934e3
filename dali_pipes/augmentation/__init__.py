"""Augment the rendered views of training clips: RandAugment, color jitter and random erasing.

For other folders:
    augmenter: Augmenter, make_augmenter, working_bytes
    plan: Shape
"""
