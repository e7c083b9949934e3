"""Whole experiments: the config, its stages, the wired networks and data, training and evaluation runs.

For other folders:
    config: ExperimentConfig, load_config, parse_config, recognizer_from, ViewName
    config_files: read_settings
    data: data_of
    networks: build_evaluated_model, scores_of, teacher_model, view_of, view_shapes
    protocol: write_evaluation
    run: evaluate_checkpoint, train_experiment
    run_checks: check_config
    stages: asked_settings, check_stages, choose_stage, load_stages, teacher_stage, train_stages
"""
