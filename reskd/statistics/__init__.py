"""The answers of runs on test videos: metrics, and arms compared on the same videos with intervals.

For other folders:
    comparison: arm_intervals, compare_arms, Comparison, Difference, GapShare, share_of_gap
    metrics: ArmSummary, Metric, METRICS, summarize_arm
    predictions: join_predictions, Predictions
"""
