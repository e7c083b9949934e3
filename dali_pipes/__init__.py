"""The input pipeline: it turns lists of videos into batches with the teacher's and the student's view of each clip.

For other programs, see docs/python.md: the names of ``__all__``, which import nothing before they are used.

For other folders:
    atomic_files: append_whole, atomic_folder, atomic_open, atomic_write_bytes, atomic_write_text, DiskFullError,
        full_disk_named, move_into_place, remove_leftovers
    augmentation_config: AugmentationConfig, ColorJitterConfig, HIGHEST_MAGNITUDE, RandAugmentConfig, RandAugmentOp,
        RandomErasingConfig
    batch: ClipBatch, FeatureView, label_sets_of, Loader, PADDING_POSITION, View
    checksums: checksum_of_array, checksum_of_json
    choices: ClassSampling, ClipFrameSelection, DecoderChoice, DEFAULT_QUALITY, DemoFormat, EngineName, FrameSelection,
        ListFormat, ListReading, PixelAspect, TranscodeCodec
    config: DataConfig, GroupPattern, LoaderConfig, StrictConfig, StudentViewConfig, VideoFilesConfig, ViewConfig,
        ViewsConfig
    fault_log: drop_lines_from, FaultCounts, FaultLog, is_new, LoaderLog, NO_LOG, saying_once, sum_counts,
        UnreadableDataError
    file_names: check_group_pattern, first_few, matched_group, on_one_line, print_any_name, printable, short_enough
    json_files: object_in, parse_json, read_json
    regular_files: check_kept_files, file_is_there
    renamed: OldNames
    sampling_config: Averaging, MOST_FRAMES, SamplingConfig
    storage_spec: is_shard_pattern, split_path, split_template, Storage, VIDEO_FILES
    video_info: Column, columns_of, JPEG_FILES, NO_INDEX, PacketLocation, Stamp, UNTAGGED, VideoInfo
"""

from importlib import import_module
from typing import Any

from dali_pipes import renamed

# The public names -> the modules that define them. dali_pipes/__init__.pyi has them for type checkers.
_PUBLIC = {
    "build_manifests": "dali_pipes.manifest.build",
    "ClipBatch": "dali_pipes.batch",
    "ClipLoader": "dali_pipes.loader.clip_loader",
    "DataConfig": "dali_pipes.config",
    "FeatureView": "dali_pipes.batch",
    "Manifest": "dali_pipes.manifest.manifest",
    "PADDING_POSITION": "dali_pipes.batch",
    "ReadingOrder": "dali_pipes.sampling.order",
    "View": "dali_pipes.batch",
}
__all__ = [*_PUBLIC]

renamed.install()


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
