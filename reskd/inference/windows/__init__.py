"""A student's answers over the time of a long video or a live stream: sliding windows, tables and pictures of them.

For other folders:
    live: answer_stream
    many_videos: answer_windows_of_videos, WindowFiles
"""
