"""Scan every video once: actual frame count, size, rotation, color, damage, packet index.

For other folders:
    damage: DamageCheck
    probe: complaints_of, one_line, probe, probe_bytes, Probed
    reading_cost: describe_cost
    scan: default_store, Location, scan, video_files
    store: IndexReader, read_video_info
    summary: describe_damage, describe_pictures, describe_scan, kind_of
"""
