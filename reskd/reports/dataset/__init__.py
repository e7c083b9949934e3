"""The page of a data set: what it holds, what is wrong with it, what reading it costs, and what to do about it.

For other folders:
    page: write_data_page
    videos: class_folders, folder_of, VideoSet
"""
