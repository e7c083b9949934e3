"""The packet index: which bytes of a video hold which frame, and which packets a set of frames needs.

For other folders:
    index_builder: NotIndexableError, PacketIndexer
    packet_index: ChangedFileError, CODEC_TAG, PACKET, PacketIndex, read_packets, READ_TOGETHER, REQUEST_TOGETHER,
        select, Selection, start_distances
    picture_types: START
"""
