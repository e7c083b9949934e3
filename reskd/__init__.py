"""Distillation for video classifiers that see fewer pixels and frames.

For other folders:
    atomic_files: write_whole
    cli: add_engine_arguments, engine_of, positive, run_tool
    distributed: barrier, broadcast_buffers, choose_device, DeviceChoice, gather_objects, gather_rows, joined_world,
        mean_over_ranks, minimum_over_ranks, World
    environment: describe_environment, driver_version, in_tested_range, installed_versions, native_library_name,
        TESTED
    outputs: RecognizerOutput
"""

from reskd import renamed

__version__ = "0.1.0"

renamed.install()
