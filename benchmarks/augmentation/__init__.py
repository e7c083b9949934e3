"""The cost of augmenting batches of views."""
