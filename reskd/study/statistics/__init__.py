"""The answers of runs on test videos: metrics, and arms compared on the same videos with intervals.

For other folders:
    comparison: BootstrapSettings, compare_arms, Comparison, Difference, GapShare, share_of_gap
    metrics: ArmSummary, Metric, METRICS, resampled_metrics, summarize_arm
    predictions: join_predictions, Predictions
"""
