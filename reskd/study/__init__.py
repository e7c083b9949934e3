"""Studies: many runs of one config file over seeds, splits and settings, scored on the same videos and compared.

For other folders:
    archive: read_archive, write_archive
    config: load_study, StudyConfig
    plan: plan_study, StudyPlan
    runner: describe_plan, known_rows, run_study, study_folder
    scores: read_scores
    summary: seeds_of, summarize_study
    work: scores_path
"""
