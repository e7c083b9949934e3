"""The input pipeline: from lists of videos to batches that hold the teacher's and the student's view of each clip.

For other folders:
    batch: ClipBatch, FeatureView, label_sets_of, Loader, PADDING_POSITION, View
    config: Averaging, DataConfig, SamplingConfig, StrictConfig, StudentViewConfig, VideoFilesConfig, ViewConfig,
        ViewsConfig
    fault_log: drop_lines_from, FaultCounts, FaultLog, sum_counts
    storage_spec: is_shard_pattern, split_path, split_template, Storage, VIDEO_FILES
    video_info: FileFacts, JPEG_FILES, PacketPlace, Stamp, UNTAGGED
"""

from dali_pipes import renamed

renamed.install()
