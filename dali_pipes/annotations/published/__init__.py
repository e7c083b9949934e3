"""Convert published annotations of Kinetics, Mini-Kinetics, ActivityNet, FCVID and Something-Something to lists.

For other folders:
    coverage
    registry: DATA_SETS
    video_files: VideoFiles
    write_lists: config_lines, write_lists
"""
