"""Video classifiers: their configs, and the code they all share.

For other folders:
    common_config: BatchNormChoice, KEPT_PARTS
    config: AggregatedConfig, difference, FeaturesConfig, network_name, parse_recognizer,
        PixelRecognizerConfig, PooledRecognizerConfig, RecognizerConfig, SlowOnlyConfig, StageStrides, SwinConfig,
        TsmConfig, TsnConfig, without_kept_parts
    python_config: FeatureLayout, PythonConfig
    recognizer: check_valid, data_shape, Recognizer, Shape
    teacher: Teacher
    teacher_config: TeacherConfig
    timm_catalog: HUB, is_timm, PACKAGE, pixel_statistics, shipped_file, TIMM, timm_settings
"""
