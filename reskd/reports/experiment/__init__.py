"""The report of an experiment: did the student learn from its teacher, and what do its answers look like.

For other folders:
    collect: EvaluatedFile, evaluation_command, experiment_of_runs, experiment_of_stages
    page: write_experiment_report, write_stage_report
    scored: keep_scores
"""
