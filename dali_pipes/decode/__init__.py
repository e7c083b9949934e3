"""Decoding with PyAV: whole files, selected packets, JPEG frames; and what decoding costs.

For other folders:
    cost: count_decoded, DecodedFrames, find_keyframes, Keyframes, spread_sample
    jpeg: BadJpegError, decode_jpegs, JpegDecoder, JpegHeader, read_header
    pyav: colors_of, decode_frames, decode_packets, ffmpeg_name, InexactError, MATRIX_NAMES, open_video,
        open_video_stream, output_frames, quarter_turns, RANGE_NAMES, to_rgb, Window
    remux: remux
"""
