"""Decode whole files, selected packets and JPEG frames with PyAV; estimate the cost of decoding.

For other folders:
    cost: count_decoded, DecodedFrames, find_keyframes, Keyframes, spread_sample
    demux: packets_of
    jpeg: BadJpegError, decode_jpegs, JpegDecoder, JpegHeader, read_header
    live: open_live, OPENING_S
    picture_shape: container_aspect, Orientation, orientation_of, pixel_shape_of, PixelShape, upright
    progressive: as_progressive
    pyav: color_names, colors_of, decode_frames, decode_packets, ffmpeg_name, first_frames, frames_of, InexactError,
        MATRIX_NAMES, open_video, open_video_stream, output_frames, RANGE_NAMES, to_rgb, Window
    remux: remux
    stream_choice: depends_on_probing
"""
