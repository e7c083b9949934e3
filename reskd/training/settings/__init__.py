"""Settings of a training that are read before torch is imported, so that a mistake in a config shows at once.

For other folders:
    optimizer: OptimizerConfig
    recipes: AverageConfig, check_mixing, MixingConfig
"""
