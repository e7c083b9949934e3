"""What ``reskd gpu-check`` asks a machine with a GPU, part by part.

For other folders:
    parts: PARTS, Site
    runner: answer_part, run_parts
"""
