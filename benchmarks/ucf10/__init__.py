"""The videos of the results on ten classes of UCF101."""
