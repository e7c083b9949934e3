"""Distillation for video classifiers that see fewer pixels and frames.

For other programs, see docs/python.md: the names of ``__all__``, which import nothing before they are used.

For other folders:
    choices: Backend, ClassWeights, DeviceChoice, Distance, ExportFormat, METRIC_NAMES, OnnxPrecision, PrecisionChoice,
        PrecisionSetting, Reduction, ScoreKind, TaskName, ThroughputMode, TimeMatching
    cli: add_engine_arguments, add_engine_choice, add_overrides, add_temperature, add_trust_code, command_parser,
        engine_of, level_of_rank, number_from, part_of_parts, positive, require_checkpoint, run_tool, stderr_handler
    device_times: recorded_event, wait_for
    distributed: averaging_gradients, barrier, broadcast_buffers, choose_device, data_parallel, gather_objects,
        gather_rows, joined_world, mean_over_ranks, minimum_over_ranks, patient_barrier, StopAgreement, World
    environment: DALIS, describe_environment, driver_version, installed_opencvs, installed_versions, missing_npp,
        native_library_name, require_for_training
    faults: fault_files_in, sentence_of
    machine_checks: Finding, GIB, PYAV_DECODE_SECONDS
    memory: limited_to_available, total_bytes
    outputs: probabilities, RecognizerOutput
    rank_map: LateRanks, log_ranks
    stop_signals: Stopped, StopSignals
    yaml_reading: Keys, read_yaml, read_yaml_file, write_yaml
"""

from importlib import import_module
from typing import Any

from reskd import renamed

__version__ = "0.1.0"

# The public names -> the modules that define them. reskd/__init__.pyi has them for type checkers.
_PUBLIC = {
    "Answer": "reskd.inference.answers",
    "ExperimentConfig": "reskd.experiment.config",
    "interpolate_mse_loss": "reskd.ops.interpolate_mse",
    "load_config": "reskd.experiment.config",
    "load_student": "reskd.api.student",
    "make_loader": "reskd.api.loaders",
    "NoAnswer": "reskd.inference.answers",
    "Student": "reskd.api.student",
    "train_config": "reskd.api.training",
}
__all__ = [*_PUBLIC, "__version__"]

renamed.install()


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
