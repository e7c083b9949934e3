"""The answers of runs on test videos: metrics, and models compared on the same videos with intervals.

For other folders:
    comparison: arm_intervals, compare_arms, Comparison, Difference, GapShare, share_of_gap
    metrics: ArmSummary, Metric, METRICS, summarize_arm
    pairs: compare_pair, McNemar, PairedComparison, PairedModels
    predictions: check_same_videos, join_predictions, Predictions
    resamples: BootstrapSettings
    score_files: as_names, label_sets, read_score_file, score_arrays, ScoredVideos, write_score_file
    shown: counted, rounded, shown_cost, shown_difference, shown_interval, shown_value
    video_groups: groups_by_pattern, groups_of
"""
