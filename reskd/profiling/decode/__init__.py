"""The cost of reading a clip, here and with other decoders; run by reskd profile decode.

For other folders:
    benchmark: draw_rows, measure_files, Row, STAGES
    candidates: CANDIDATES, check_names, frames_decoded_by_reskd
    standard_clips: available_kinds, encode, FRAMES_PER_SECOND, HEIGHT, Kind, LIST_NAME, make_kind, WIDTH
    workload: Workload
"""
