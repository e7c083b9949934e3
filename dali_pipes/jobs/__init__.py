"""Long jobs over many files: worker processes or a Ray cluster, progress, processes that die with their parent.

For other folders:
    control_groups: folders_of_groups
    cores: choose_parallelism, cores_of_rank, Parallelism, usable_cores
    journal_file: open_alone
    map_files: Engine, make_engine, map_isolated, process_pool, shard_of
    process_folder: process_folder, temporary_files_in_process_folder
    progress: gib, hours_minutes_seconds, progress_messages, ProgressDisplay
    worker_process: ask_for_death_with_parent, die_with_parent, starting_workers
"""
