"""Frame features instead of videos: YouTube-8M's records, their index, manifest and loader.

For other folders:
    config: EXTRACTION_FILE, FeatureDataConfig, read_settings
    loader: FeatureLoader, ViewArrays, write_video
    manifest: build_feature_manifests, FeatureManifest
    quantization: dequantize, quantize_scaled, to_bytes
    record_index: open_index, RecordIndex
    sequence_example: encode_video, write_video
    source: FeatureSource, VideoFeatures
    tfrecord: RecordWriter
"""
