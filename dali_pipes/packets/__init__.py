"""The packet index: the byte range of each frame's packet, and the packets that a set of frames needs.

For other folders:
    frame_numbers: FrameNumbers
    index_builder: NotIndexableError, PacketIndexer
    packet_index: ChangedFileError, CODEC_TAG, PACKET, PacketIndex, read_packets, READ_TOGETHER, REQUEST_TOGETHER,
        select, Selection, start_distances
    picture_types: count_pictures, COUNTED_CODECS, PACKED, START
"""
