"""What trained networks look at: effective receptive fields, and overlays of class evidence on frames.

For other folders:
    arguments: add_attention_arguments, add_receptive_field_arguments
"""
