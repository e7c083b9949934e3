"""How fast a training goes on many GPUs, from rates measured on one.

For other folders:
    arguments: add_scaling_arguments
    config: Rates
"""
