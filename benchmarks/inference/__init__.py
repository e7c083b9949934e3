"""The time to classify a video from its features, with all frames and with k of them.

For other folders:
    inference_benchmark: Candidate, measure_candidates
"""
