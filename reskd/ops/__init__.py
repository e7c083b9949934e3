"""The fused interpolate-and-compare loss: its reference, its compiled backends, and the choice between them.

For other folders:
    dispatch: available_backends, describe_choice
    interpolate_mse: available_backends, interpolate_mse_loss
"""
