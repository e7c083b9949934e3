"""Whole experiments: the config, its stages, the wired networks and data, training and evaluation runs.

For other folders:
    build: build_trainer
    clip_data: ClipData
    config: ExperimentConfig, load_config, parse_config, recognizer_from, referred_stage, ViewName
    config_errors: explain
    config_files: ConfigFile, find_config, merge_files, name_source, read_config_files, read_settings, shown
    data: data_of
    lists: build_manifests
    networks: build_evaluated_model, build_networks, check_networks, scores_of, teacher_model, view_of, view_shapes
    protocol: write_evaluation
    provenance: is_trained
    run: answers_of, score_checkpoint, ScoredCheckpoint, train_experiment
    run_checks: check_config
    stages: asked_settings, check_data_paths, check_stages, choose_stage, load_stages, role_of,
        teacher_stage, train_stages
"""
