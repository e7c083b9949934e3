"""Transcode videos so that they decode faster: smaller, upright, with many keyframes.

For other folders:
    cost_estimate: check_room, describe_prediction, predict
    encode: OutputSettings
    job: Job
"""
