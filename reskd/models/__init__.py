"""Video classifiers: their configs, and the code they all share.

For other folders:
    config: AggregatedConfig, BatchNormChoice, difference, FeaturesConfig, KEPT_PARTS, network_name, parse_recognizer,
        PixelRecognizerConfig, PooledRecognizerConfig, RecognizerConfig, SlowOnlyConfig, StageStrides, SwinConfig,
        TsmConfig, TsnConfig, without_kept_parts
    recognizer: check_valid, data_shape, Recognizer, Shape
    teacher: Teacher
    teacher_config: TeacherConfig
    timm_catalog: HUB, is_timm, PACKAGE, pixel_statistics, shipped_file, TIMM, timm_settings
"""
