"""Scan every video once: actual frame count, size, rotation, color, damage, packet index.

For other folders:
    content_hash: Piece, sample_hash, UNKNOWN, whole_hash
    damage: DamageCheck
    index_reader: IndexReader
    probe: complaints_of, one_line, probe, probe_bytes, Probed
    reading_cost: describe_cost
    scan: default_store, latest_valid, Location, missing_videos, MissingVideosError, scan, video_files
    store: read_all_video_info, read_video_info, VideoInfoWriter
    summary: describe_damage, describe_pictures, describe_scan, kind_of
"""
