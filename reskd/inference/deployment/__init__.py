"""An exported student in lower precision, and as a repository of models for Triton; each compared before it is kept.

For other folders:
    triton: remove_repository, write_repository
    lower_precision: add_precisions, check_precisions
    run_splits: PrecisionLists
"""
