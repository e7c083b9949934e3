"""What ``tools/gpu_check.py`` asks a machine with a GPU, part by part.

For other folders:
    parts: CODECS, PARTS, Site
    runner: NO_DEVICE, answer_part, run_parts
"""
