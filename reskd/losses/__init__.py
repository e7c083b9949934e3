"""The student's loss: the task loss, and one file per distillation term.

For other folders:
    config: DEFAULT_AUTO_STEPS, LossConfig
    diagnostics: describe, gradient_squares, measure_gradients, measure_maps
    distillation: DistillationLoss, FeaturePair
    task: check_class_weights, weights_of_classes
    temporal_alignment: Timestamps, timestamps_of
"""
