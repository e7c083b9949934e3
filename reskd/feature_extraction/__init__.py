"""Frame features of videos, written as YouTube-8M's records.

For other folders:
    command: add_extract_features
"""
