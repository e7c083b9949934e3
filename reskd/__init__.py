"""Cross-resolution knowledge distillation for video recognition. Importing this package imports nothing."""

__version__ = "0.1.0"
