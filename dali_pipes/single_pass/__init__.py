"""Decode a video once for a student in use: its test views, sliding windows over hours, a camera or stream.

For other folders:
    live_windows: LiveWindows, without_password
    test_views: read_numbered, VideoViews, ViewsRule
    window_reader: read_pictures, read_windows, ReadingNotes, UnreadableVideoError
    triton_pipeline: INPUT, OUTPUT, run_pipeline, ViewSteps, write_pipeline
    windows: WindowClip, WindowRule
"""
