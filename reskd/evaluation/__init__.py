"""Scores a list of videos: test views, metrics, YouTube-8M's metrics.

For other folders:
    evaluator: evaluate, Evaluation, EvaluationSettings, Validation
    metrics: check_selection_metric, label_set_losses, rank_scores, ScoredList
    multi_view: average_views
    temperature: fit_temperature
    youtube8m: top_lists, TopLists, video_level_metrics
"""
