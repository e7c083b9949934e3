"""Choose the video, frames, crop and flip of each position: pure functions of seed and position.

For other folders:
    class_order: labels_to_balance
    clip_plan: ClipPlan, Crop, plan_clip, VideoShape
    counter_rng: hash_words, uniform
    crops: choose_crop
    listed_batches: ListedBatches
    order: EpochOrders, most_attempts, positions_of_batch, ReadingOrder, substitute_row
    spec: check_view_names, first_view_size, num_frames_read, ONE_TEST_VIEW, rules_for_views, rules_from_config,
        SamplingRules, student_frames, StudentFrames, TestViews
    student_frames: select_frames
"""
