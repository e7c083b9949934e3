"""Synthetic data with known labels: the demo's videos, and features for the fewer-frames study.

For other folders:
    data_set: holds_data_set, make_data_set, refuse_to_replace, Settings
    features: ABOUT, describe_synthetic, make_video, prototypes, SyntheticSpec, write_synthetic
    video_files: same_scheduling
    videos: CLASSES, HEIGHT, NUM_FRAMES, Pixels, POSES, render_scene_clips, SUPPORT, WIDTH
"""
