"""Storage of videos: byte ranges of files, tar shards, folders of JPEG frames.

For other folders:
    byte_range: ByteRange, is_url
    frame_files: numbers_in, read_frame_files
    frame_folders: as_folder, folders_of, FrameFolder, list_frame_folders, pieces_of
    shards: list_shards, members_of, ShardMember
    tar_index: read_member
"""
