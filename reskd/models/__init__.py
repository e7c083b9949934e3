"""Video classifiers: their configs, and the code they all share.

For other folders:
    config: AggregatedConfig, BatchNormChoice, difference, FeaturesConfig, network_name, parse_recognizer,
        PixelRecognizerConfig, PooledRecognizerConfig, RecognizerConfig, SlowOnlyConfig, StageStrides, SwinConfig,
        TeacherConfig, TsmConfig, TsnConfig
    recognizer: check_valid, data_shape, Recognizer, Shape
    teacher: Teacher
    timm_catalog: HUB, is_timm, PACKAGE, pixel_statistics, shipped_file, TIMM, timm_settings
"""
