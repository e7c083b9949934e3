"""The training loop and what it needs: optimizer, schedule, precision, checkpoints, run folders, metrics log.

For other folders:
    checkpoint: load_checkpoint
    dry_run: choose_clips_per_pass, leaving_no_trace, noise_batch
    loss_balance
    optimizer: OptimizerConfig
    plan: Plan, SelectionMetric, TrainingConfig
    precision: Precision, PrecisionChoice
    run_directory: check_same_experiment, config_hash, flatten, open_run_directory, RunDirectory, write_description
    schedule: ScheduleConfig
    trainable: shown, Trainable
    trainer: Trainer
"""
