"""Decode whole files, selected packets and JPEG frames with PyAV; estimate the cost of decoding.

For other folders:
    cost: count_decoded, DecodedFrames, find_keyframes, Keyframes, spread_sample
    jpeg: BadJpegError, decode_jpegs, JpegDecoder, JpegHeader, read_header
    pyav: colors_of, decode_frames, decode_packets, ffmpeg_name, frames_of, InexactError, MATRIX_NAMES, open_video,
        open_video_stream, output_frames, quarter_turns, RANGE_NAMES, to_rgb, Window
    remux: remux
"""
