"""Use of a trained student: load it from a checkpoint, classify files or records, export it.

For other folders:
    answer_lines: as_json, as_text
    answers: Answer, answering_precision, NoAnswer, OnProgress, VideoAnswer, VideoSettings
    bulk: answer_into, settings_of_answers
    export: check_packages, CHECKED_BATCH_SIZES, export_student, MAX_DIFFERENCE, Refusal
    export_clips: clips_to_compare
    feature_records: answer_records
    given_files: GivenVideos, listed_videos
    one_pass: clip_logits
    student: describe_student, load_trained_student, TrainedStudent
    videos: answer_videos
"""
