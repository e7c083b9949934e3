"""Lists of labeled videos: read CSV files, lists of other tools and class folders, and rewrite lists with new paths.

For other folders:
    file_walk: count_of, files_below, files_under, named
    list_text: read_text, split_lines
    lists: check_folder_numbers, class_names_of, describe_labels, LABEL_SEPARATOR, label_videos, LabeledVideo,
        ListedVideo, parse_list, ParsedList, plain_path, read_class_names, read_list, rewrite_list, VIDEO_SUFFIXES,
        videos_under
"""
