"""Whole experiments: the config, its stages, the wired networks and data, training and evaluation runs.

For other folders:
    build: count_training_list
    config: ExperimentConfig, load_config, parse_config, read_settings, recognizer_from
    networks: build_evaluated_model, build_networks, scores_of, teacher_model, view_shapes, ViewName
    run: evaluate_checkpoint, train_experiment, write_evaluation
    stages: check_stages, choose_stage, load_stages, teacher_stage, train_stages
"""
