"""The student's loss: the task, and a file for each distillation term.

For other folders:
    config: LossConfig
    distillation: DistillationLoss, FeaturePair
    temporal_alignment: Timestamps, timestamps_of
"""
