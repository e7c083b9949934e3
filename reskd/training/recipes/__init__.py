"""Recipes of the field that change a training: mixed clips, averaged weights, early stopping. Each is off by default.

For other folders:
    early_stopping: EarlyStopping, EarlyStoppingConfig, stopped_early
    mixing: Mixer, unmixed
    weight_averaging: average_of
"""
