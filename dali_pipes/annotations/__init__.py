"""Lists of labeled videos: read UCF101's lists, CSV files and class folders, and rewrite lists with new paths.

For other folders:
    lists: class_names_of, LABEL_SEPARATOR, label_videos, LabeledVideo, ListedVideo, read_class_names, read_list,
        rewrite_list, VIDEO_SUFFIXES, videos_under
"""
