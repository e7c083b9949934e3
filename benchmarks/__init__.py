"""Measurements against alternatives; run from the repository root, as in python -m benchmarks.ops.bench_loss."""
