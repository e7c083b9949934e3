"""The clip loader: worker processes read, DALI or PyAV decodes, and batches hold the rendered views.

For other folders:
    clip_loader: ClipLoader
    clip_reader: ClipReader
    cpu_render: render_plan, RenderPlan
    decoder_choice: BY_PYAV, decoder_rule, DecoderRule, DeviceKind
    external_source: ClipChooser
    memory: decoding_bytes
    recovery: reason_of
    whole_video: TimedFrames, TimedReader
"""
