"""Scan every video once: actual frame count, size, rotation, color, damage, packet index.

For other folders:
    damage: DamageCheck
    probe: complaints_of, one_line, probe, probe_bytes, Probed
    scan: default_store, describe_scan, Location, scan, video_files
    store: IndexReader
"""
