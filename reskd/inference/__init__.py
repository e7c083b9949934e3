"""Use of a trained student: load it from a checkpoint, classify files or records, export it.

For other folders:
    answer_lines: as_json, as_text, best_answers, error_as_json, scores_as_text
    answers: Answer, answering_precision, NoAnswer, OnProgress, VideoAnswer, VideoSettings
    bulk: answer_into, settings_of_answers
    export: check_packages, CHECKED_BATCH_SIZES, CONFIG_NAME, export_student, FILE_NAMES, MAX_DIFFERENCE, METADATA_KEY,
        PRECISION_NAMES, Refusal, TABLE_NAMES, TRITON_CLIENT, write_client
    export_clips: clips_to_compare
    feature_records: answer_records
    given_files: GivenVideos, listed_videos
    checksums: write_checksums
    one_pass: clip_logits, read_in_order, views_rule
    student: describe_student, load_trained_student, TrainedStudent
    videos: answer_videos
"""
