"""The families of classifiers (TSN, TSM, SlowOnly, Video Swin, aggregated, features) and their heads.

For other folders:
    registry: build_recognizer
"""
