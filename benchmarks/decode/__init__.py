"""The cost of k frames instead of all of them.

For other folders:
    few_frames_decode: Case, Reading
"""
