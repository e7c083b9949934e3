"""Synthetic data with known answers: the demo's videos, and features for the fewer-frames study.

For other folders:
    features: ABOUT, describe_synthetic, make_video, prototypes, SyntheticSpec, write_synthetic
    videos: CLASSES, FRAMES_PER_SECOND, GENERATOR_VERSION, HEIGHT, NUM_FRAMES, Pixels, POSES, render_scene_clips,
        SPLITS, SUPPORT, WIDTH
"""
