"""A start of training with many videos."""
