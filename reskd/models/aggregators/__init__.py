"""Aggregators: one embedding from the features of many frames.

For other folders:
    aggregator: Aggregator
    build: build_aggregator
    config: AggregatorConfig, answering_settings, ClassifierConfig, LinearHeadConfig, MixtureOfExpertsConfig
    masking: at_least_fp32, unit_length, without_invalid
"""
