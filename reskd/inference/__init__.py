"""A trained student in use: load it from a checkpoint, ask it about files or records, export it.

For other folders:
    answers: Answer, NoAnswer, OnProgress
    export: asks_which_are_valid, check_packages, CHECKED_BATCH_SIZES, export_student, Format, Inputs,
        MAX_DIFFERENCE, Refusal
    feature_records: answer_records, RecordAnswer
    student: describe_student, load_trained_student, TrainedStudent
    videos: answer_videos, VideoAnswer
"""
