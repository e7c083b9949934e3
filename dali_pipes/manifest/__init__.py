"""The table of a split's videos, one row per video, built from lists and scans.

For other folders:
    build: build_manifests, copy_split_table
    known_damage: known_damage
    manifest: Manifest, ManifestRow
    rows: COLUMNS
    sources: cost_of, locations_of, storage_of, store_of
    split_table: groups_of_videos
    splits: videos_of_splits
"""
