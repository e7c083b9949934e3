"""Long jobs over many files: worker processes or a Ray cluster, progress, processes that die with their parent.

For other folders:
    map_files: Engine, make_engine, map_isolated, process_pool, shard_of
    progress: describe_progress, gib, hours_minutes_seconds, ProgressLine
    worker_process: die_with_parent, main_module_hidden
"""
