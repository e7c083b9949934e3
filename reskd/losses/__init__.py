"""The student's loss: the task loss, and one file per distillation term.

For other folders:
    config: LossConfig
    distillation: DistillationLoss, FeaturePair
    temporal_alignment: Timestamps, timestamps_of
"""
