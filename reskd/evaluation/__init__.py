"""Scores a list of videos: test views, metrics, YouTube-8M's metrics.

For other folders:
    evaluator: evaluate, Evaluation, EvaluationSettings, Validation
    metrics: check_selection_metric, ScoredList
    multi_view: average_views
    youtube8m: top_lists, video_level_metrics
"""
