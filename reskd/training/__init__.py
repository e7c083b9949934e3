"""The training loop and what it needs: optimizer, schedule, precision, checkpoints, run folders, metrics log.

For other folders:
    checkpoint: load_checkpoint
    dry_run: choose_clips_per_pass, leaving_no_trace, noise_batch
    loss_balance
    metrics_log: describe_rate, describe_step, parse_line
    plan: Plan, SelectionMetric, TrainingConfig
    precision: chosen_precision, Precision
    run_changes: Change, changed, flatten, read_changes, set_value, why_fixed
    run_directory: check_same_experiment, config_hash, is_defining, open_run_directory, RunDirectory,
        with_former_settings,
        write_description
    run_lock: LOCK_NAME, RunLock, held_by_all
    schedule: ScheduleConfig
    trainable: inputs_of, Networks, Trainable
    trainer: Trainer
    trainer_arguments: RunRecord, Settings, TrainingData
"""
