"""The study of fewer frames: its runs, tables and pictures."""
