"""Video files in, batches of clips out: one decode, two views. Importing this package imports nothing."""
