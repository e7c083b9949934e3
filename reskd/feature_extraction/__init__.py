"""Extracts frame features from videos and writes them as YouTube-8M's records.

For other folders:
    arguments: add_arguments
    command: network_and_data, NetworkAsked, VideosAsked
    job: plan, run, Sampling, VideoLists
    summary: finish
"""
