"""What TensorBoard shows of a run besides its curves: charts of what matters, hyperparameters, clips with answers.

For other folders:
    hyperparameters: run_begins, run_is_done
    labeled_clips: Answered, Caption, captions_of, picture_of
    layout: layout_of
"""
