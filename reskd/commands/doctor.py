"""Check what this machine can do. Each line is OK, a NOTE, or a PROBLEM with what to do about it.

    reskd doctor                              check the machine
    reskd doctor configs/demo/student.yaml    check the machine, and the needs of a run of this config

The exit status is 1 only if there is a PROBLEM. --json prints the same for programs.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import shutil
from collections.abc import Sequence
from pathlib import Path

from dali_pipes.jobs.cores import usable_cores
from reskd import machine_checks as checks
from reskd.cli import add_overrides, command_parser
from reskd.environment import DALIS, driver_version, installed_opencvs, installed_versions, missing_npp
from reskd.machine_checks import Finding


def main(arguments: Sequence[str]) -> int:
    chosen = build_parser().parse_intermixed_args(arguments)
    versions = installed_versions()
    findings = [*checks.check_versions(versions), checks.check_dali(versions)]
    findings = [finding for finding in findings if finding.level == "PROBLEM"]
    if not findings:  # the other checks need the packages
        findings = _look(chosen.config, chosen.overrides, chosen.stage)
    print(checks.report(findings, as_json=chosen.json))
    return 1 if any(finding.level == "PROBLEM" for finding in findings) else 0


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser("doctor", __doc__)
    parser.add_argument("config", nargs="?", help="YAML file of an experiment whose needs are estimated")
    add_overrides(parser)
    parser.add_argument("--stage", metavar="NAME", help="only this stage, if the config has several")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _look(config_path: str | None, overrides: Sequence[str], stage: str | None) -> list[Finding]:
    if config_path is None:
        return check_machine(Path("runs"))
    from reskd.experiment.stages import check_stages, choose_stage, load_stages, teacher_stage

    configs = load_stages(config_path, overrides)  # before torch is imported, which takes seconds
    from reskd.experiment.run_checks import check_config

    check_stages(configs)
    findings = check_machine(configs[0].runs)
    for config in configs if stage is None else [choose_stage(configs, stage)]:
        prefix = f"{config.name.rpartition('.')[2]}: " if len(configs) > 1 else ""
        found = check_config(config, teacher_stage(config, configs))
        said = {(finding.level, finding.text) for finding in findings if finding.level != "OK"}
        found = [finding for finding in found if (finding.level, finding.text) not in said]  # stages share their data
        findings += [dataclasses.replace(finding, topic=prefix + finding.topic) for finding in found]
    return findings


def check_machine(runs: Path) -> list[Finding]:
    """Check this machine. ``runs``: the folder of the runs; it may not exist yet."""
    import torch
    from torch import cuda

    from dali_pipes.nvdec.verdicts import nvdec_of
    from reskd.ops.dispatch import available_backends

    num_gpus = cuda.device_count() if cuda.is_available() else 0
    versions = installed_versions()
    existing = next(folder for folder in (runs.absolute(), *runs.absolute().parents) if folder.is_dir())
    shared = shutil.disk_usage("/dev/shm")
    apex = importlib.util.find_spec("apex")
    apex_folders = list(apex.submodule_search_locations or []) if apex else []
    nvdec = nvdec_of(0) if num_gpus else None
    return [
        checks.check_driver(driver_version(), torch.version.cuda, usable=num_gpus > 0),
        *(
            checks.check_gpu(cuda.get_device_name(i), cuda.get_device_capability(i), cuda.get_arch_list())
            for i in range(num_gpus)
        ),
        checks.check_nvdec(nvdec),
        checks.check_decoders(nvdec, dali=any(versions[name] for name in DALIS)),
        checks.check_shared_memory(shared.total, shared.free),
        checks.check_disk(shutil.disk_usage(existing).free),
        checks.check_cores(usable_cores()),
        *checks.check_versions(versions),
        *checks.check_opencv(installed_opencvs()),
        checks.check_dali(versions, driver_version() if num_gpus else None),
        checks.check_npp(missing_npp() if num_gpus else None),
        checks.check_native_op(available_backends(), num_gpus=num_gpus),
        checks.check_apex(
            Path(apex_folders[0]) if apex_folders else None, compiled=importlib.util.find_spec("amp_C") is not None
        ),
    ]
