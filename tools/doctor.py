#!/usr/bin/env python
"""What this machine can do, in plain words: each line is OK, a NOTE, or a PROBLEM with what to do about it.

    python tools/doctor.py                       the machine
    python tools/doctor.py configs/my/videos.yaml [key.sub=value ...]   and what that run will need

Exit status 1 only with a PROBLEM. ``--json`` prints the same for programs.
"""

from __future__ import annotations

import argparse
import ctypes
import dataclasses
import importlib.util
import json
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from reskd.environment import TESTED, driver_version, in_tested_range, installed_versions

if TYPE_CHECKING:
    from reskd.experiment.config import ExperimentConfig

GIB = 2**30
# Oldest Linux driver branch for each CUDA major version (docs.nvidia.com/deploy/cuda-compatibility, minor version
# compatibility).
MIN_DRIVER = {12: 525, 13: 580}
# One good file of each codec, as FFmpeg describes it: pixel format and colour range.
_LIMITED = dict.fromkeys(("h264", "hevc", "vp9", "vp8", "av1", "mjpeg", "mpeg4"), ("yuv420p", "limited"))
CODECS = {**_LIMITED, "mjpeg": ("yuvj420p", "full")}
# Core-seconds to decode 8 frames spread over a 250-frame 340x256 H.264 clip with PyAV.
HOST_DECODE_SECONDS = 0.2


@dataclass(frozen=True)
class Finding:
    level: Literal["OK", "NOTE", "PROBLEM"]
    topic: str
    text: str


def check_driver(driver: str | None, torch_cuda: str | None, *, usable: bool) -> Finding:
    """``usable``: what torch.cuda.is_available() says; ``torch_cuda``: the CUDA version torch was built with."""
    if driver is None:
        text = "no NVIDIA driver: everything runs on the CPU. With a GPU in this machine, install its driver"
        return Finding("NOTE", "driver", f"{text}; in a container, start it with --gpus all.")
    if usable:
        return Finding("OK", "driver", f"{driver}, and torch (CUDA {torch_cuda}) can use it.")
    if torch_cuda is None:
        return Finding("PROBLEM", "driver", f"{driver} is there, but this torch is built without CUDA: make install.")
    needed = MIN_DRIVER.get(int(torch_cuda.split(".")[0]))
    text = f"{driver} is there, but torch (CUDA {torch_cuda}, driver {needed} or newer) cannot use it"
    return Finding("PROBLEM", "driver", f"{text}; update the driver, or use torch 2.6 (make install-min).")


def check_gpu(name: str, capability: tuple[int, int], arch_list: Sequence[str]) -> Finding:
    """Whether torch has code for the GPU: of its major version, or PTX that the driver can translate."""
    major, minor = capability
    for arch in arch_list:
        found = re.fullmatch(r"(sm|compute)_(\d+)(\d)[af]?", arch)
        if found is None:
            continue
        kind, built = found[1], (int(found[2]), int(found[3]))
        if built <= (major, minor) and (kind == "compute" or built[0] == major):
            return Finding("OK", "GPU", f"{name}, compute capability {major}.{minor}; torch has code for it.")
    text = f"{name} has compute capability {major}.{minor}, torch has code for {', '.join(arch_list)} only"
    remedy = "use torch 2.6 (make install-min) or the Dockerfile" if capability < (7, 5) else "install a newer torch"
    return Finding("PROBLEM", "GPU", f"{text}; {remedy}.")


def check_nvdec(*, library: bool, num_gpus: int) -> Finding:
    if num_gpus == 0:
        return Finding("OK", "NVDEC", "not needed without a GPU.")
    if library:
        return Finding("OK", "NVDEC", "libnvcuvid is there: the GPU can decode.")
    text = "libnvcuvid.so.1 is missing: the GPU cannot decode; install the driver's decode library (libnvidia-decode)"
    remedy = "in a container set NVIDIA_DRIVER_CAPABILITIES=compute,utility,video, or set data.loader.way_in=host"
    return Finding("PROBLEM", "NVDEC", f"{text}; {remedy}.")


def check_ways_in(device: Literal["cpu", "cuda"], *, dali: bool) -> Finding:
    """Who decodes a good file of each codec here, by the rule that the loader follows."""
    from dali_pipes.loader.decoder_choice import way_in
    from dali_pipes.video_info import FileFacts

    if not dali:
        return Finding("PROBLEM", "way in", "nvidia-dali-cuda120 is not installed: make install.")
    names = {"dali": "DALI on NVDEC", "host": "PyAV on the CPU"}
    ways: dict[str, list[str]] = {}
    for codec, (pix_fmt, colour_range) in CODECS.items():
        facts = FileFacts(250, 250, 340, 256, 0, codec, pix_fmt, "untagged", colour_range, 1, 1, "ok")
        ways.setdefault(names[way_in(facts, device, "auto")], []).append(codec)
    text = "; ".join(f"{way}: {', '.join(codecs)}" for way, codecs in ways.items())
    return Finding("OK", "way in", text + ("." if device == "cpu" else " (cut, rotated or BT.709 files always PyAV)."))


def check_shared_memory(total_bytes: int, free_bytes: int) -> Finding:
    text = f"/dev/shm has {free_bytes / GIB:.1f} of {total_bytes / GIB:.1f} GiB free"
    if free_bytes < GIB / 4:
        remedy = "start the container with --shm-size=8g, or remove what others left there"
        return Finding("PROBLEM", "shared memory", f"{text}: too little for the loader's workers; {remedy}.")
    if free_bytes < 2 * GIB:
        return Finding("NOTE", "shared memory", f"{text}: enough for small clips; 8 GiB is comfortable.")
    return Finding("OK", "shared memory", f"{text}.")


def check_disk(free_bytes: int) -> Finding:
    text = f"{free_bytes / GIB:.0f} GiB free where runs are written"
    if free_bytes < GIB:
        return Finding("PROBLEM", "disk", f"{text}; make room, or set runs=PATH on another disk.")
    return Finding("NOTE" if free_bytes < 20 * GIB else "OK", "disk", f"{text}.")


def check_cores(num_cores: int) -> Finding:
    rate = num_cores / HOST_DECODE_SECONDS
    text = f"{num_cores}: PyAV decodes about {rate:.0f} clips/s of 250 frames at 340x256"
    return Finding("NOTE" if num_cores < 4 else "OK", "CPU cores", f"{text} when nothing else runs.")


def check_versions(installed: Mapping[str, str | None]) -> list[Finding]:
    findings = []
    for name, (oldest, newest) in TESTED.items():
        version = installed.get(name)
        if version is None:
            findings.append(Finding("PROBLEM", name, f"not installed (tested: {oldest} to {newest}): make install."))
        elif in_tested_range(name, version):
            findings.append(Finding("OK", name, version))
        else:
            text = f"{version} is outside the tested range {oldest} to {newest}; if something is odd, make install."
            findings.append(Finding("NOTE", name, text))
    return findings


def check_native_op(backends: Mapping[str, str | None], *, num_gpus: int) -> Finding:
    """``backends``: name -> why it cannot serve, or None (reskd.ops.available_backends)."""
    wanted = "cuda" if num_gpus else "cpu"
    reason = backends[wanted]
    if reason is None:
        return Finding("OK", "fused loss", f"the {wanted} kernel is compiled and loaded.")
    return Finding("NOTE", "fused loss", f"plain PyTorch, slower and with more memory; no {wanted} kernel: {reason}.")


def check_apex(folder: Path | None, *, compiled: bool) -> Finding:
    """``folder``: of the package called apex; ``compiled``: whether its module amp_C is there."""
    if folder is None:
        return Finding("OK", "apex", "not installed (optional): torch's own optimizers are used.")
    if not (folder / "optimizers").is_dir():
        text = "the installed package of this name is another project, not NVIDIA's; pip uninstall apex"
        return Finding("PROBLEM", "apex", f"{text}. NVIDIA's comes with the Dockerfile's image.")
    if not compiled:
        return Finding("NOTE", "apex", "NVIDIA's, without its compiled part: optimizer.implementation=apex cannot run.")
    return Finding("OK", "apex", "NVIDIA's, compiled: optimizer.implementation=apex works.")


def check_machine(runs: Path) -> list[Finding]:
    """Look at this machine and judge it. ``runs``: where runs will be written; may not exist yet."""
    import torch

    from reskd.ops.dispatch import available_backends

    num_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    versions = installed_versions()
    existing = next(folder for folder in (runs.absolute(), *runs.absolute().parents) if folder.is_dir())
    shared = shutil.disk_usage("/dev/shm")
    apex = importlib.util.find_spec("apex")
    apex_folders = list(apex.submodule_search_locations or []) if apex else []
    return [
        check_driver(driver_version(), torch.version.cuda, usable=num_gpus > 0),
        *(
            check_gpu(torch.cuda.get_device_name(i), torch.cuda.get_device_capability(i), torch.cuda.get_arch_list())
            for i in range(num_gpus)
        ),
        check_nvdec(library=_loads("libnvcuvid.so.1"), num_gpus=num_gpus),
        check_ways_in("cuda" if num_gpus else "cpu", dali=versions["nvidia-dali-cuda120"] is not None),
        check_shared_memory(shared.total, shared.free),
        check_disk(shutil.disk_usage(existing).free),
        check_cores(len(os.sched_getaffinity(0))),
        *check_versions(versions),
        check_native_op(available_backends(), num_gpus=num_gpus),
        check_apex(
            Path(apex_folders[0]) if apex_folders else None, compiled=importlib.util.find_spec("amp_C") is not None
        ),
    ]


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def report(findings: Sequence[Finding], *, as_json: bool) -> str:
    if as_json:
        return json.dumps([dataclasses.asdict(finding) for finding in findings], indent=2)
    lines = [f"{finding.level:8}{finding.topic}: {finding.text}" for finding in findings]
    num_problems = sum(finding.level == "PROBLEM" for finding in findings)
    return "\n".join([*lines, f"{num_problems} problem{'' if num_problems == 1 else 's'}."])


def check_run_memory(need_bytes: int, available_bytes: int, *, num_clips: int, where: str) -> Finding:
    text = (
        f"about {need_bytes / GIB:.1f} GiB for {num_clips} clips at once, {where} has {available_bytes / GIB:.1f} GiB"
    )
    if need_bytes > available_bytes:
        return Finding("PROBLEM", "memory", f"{text}; set training.max_clips_per_pass lower: the rest is accumulated.")
    return Finding("NOTE" if need_bytes > 0.8 * available_bytes else "OK", "memory", f"{text}.")


def check_run_disk(checkpoint_bytes: int, num_checkpoints: int, free_bytes: int) -> Finding:
    # One more: a checkpoint is written beside the old one before it replaces it.
    need_bytes = (num_checkpoints + 1) * checkpoint_bytes
    text = f"{num_checkpoints} checkpoints of {checkpoint_bytes / GIB:.2f} GiB, {free_bytes / GIB:.0f} GiB free"
    if need_bytes > free_bytes:
        return Finding("PROBLEM", "run's disk", f"{text}; make room, or raise training.keep_every_epochs.")
    return Finding("OK", "run's disk", f"{text}.")


def check_run_time(compute_seconds: float, decode_seconds: float, *, num_clips: int | None, epochs: float) -> Finding:
    """``compute_seconds``, ``decode_seconds``: of one clip; decoding runs beside the step, so the slower one counts."""
    slower = "decoding" if decode_seconds > compute_seconds else "the networks"
    seconds = max(compute_seconds, decode_seconds)
    if num_clips is None:
        text = f"about {_duration(1000 * seconds)} for 1,000 clips ({slower} take longest); the list is not here"
        return Finding("NOTE", "time", f"{text}: check data.root and data.train.")
    text = f"about {_duration(epochs * num_clips * seconds)} for {epochs:g} epochs of {num_clips} clips"
    return Finding("OK", "time", f"{text}; {slower} take longest.")


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.2g} min"


def check_config(config: ExperimentConfig, stage: ExperimentConfig | None = None) -> list[Finding]:
    """What this run needs as one process, timing a pass of a few clips. ``stage``: the teacher's, if of one file."""
    import torch

    from reskd.distributed import choose_device
    from reskd.experiment.data import data_of
    from reskd.experiment.networks import build_networks, view_shapes
    from reskd.profiling.resource_estimate import checkpoint_bytes, estimate_memory, measure_seconds_per_clip
    from reskd.training.precision import Precision

    device = choose_device(config.device)
    num_clips, num_classes = None, 400
    try:
        num_clips, num_classes = data_of(config).count_training_list(config.seed)
    except (ValueError, OSError) as error:
        data = Finding("NOTE", "data", f"{error} (a guess of {num_classes} classes is used below.)")
    else:
        data = Finding("OK", "data", f"{num_clips} training videos of {num_classes} classes.")
    student, teacher, _ = build_networks(config, num_classes=num_classes, device=torch.device("meta"), stage=stage)
    training, shapes = config.training, view_shapes(config)
    at_once = min(training.global_batch_size, training.max_clips_per_pass or training.global_batch_size)
    need = estimate_memory(student, teacher, shapes, training.precision)
    slow = device.type == "cpu" and training.precision == "fp16"
    precision = Precision("fp32" if slow else training.precision, device)
    # Two, as batch norm of a code has nothing to do with one.
    num_timed = min(at_once, 8 if device.type == "cuda" or config.data.kind == "features" else 2)
    seconds = measure_seconds_per_clip(student, teacher, shapes, precision, num_clips=num_timed)
    num_kept = 2 + int(training.epochs // training.keep_every_epochs if training.keep_every_epochs else 0)
    existing = next(folder for folder in (config.runs.absolute(), *config.runs.absolute().parents) if folder.is_dir())
    if device.type == "cuda":
        where, available = "the GPU", torch.cuda.get_device_properties(device).total_memory
    else:
        where, available = "this machine", os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    decode = 0.0 if config.data.kind == "features" else HOST_DECODE_SECONDS / len(os.sched_getaffinity(0))
    advice = "fp16 on a CPU is far slower than fp32, which is timed below; set training.precision=fp32."
    return [
        data,
        *([Finding("NOTE", "precision", advice)] if slow else []),
        check_run_memory(need.total_bytes(at_once), available, num_clips=at_once, where=where),
        check_run_disk(checkpoint_bytes(student, teacher), num_kept, shutil.disk_usage(existing).free),
        check_run_time(seconds, decode, num_clips=num_clips, epochs=training.epochs),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", help="YAML file of an experiment: what will it need here?")
    parser.add_argument("overrides", nargs="*", metavar="key.sub=value", help="settings in place of the file's")
    parser.add_argument("--json", action="store_true", help="print JSON")
    chosen = parser.parse_intermixed_args(arguments)
    findings = [finding for finding in check_versions(installed_versions()) if finding.level == "PROBLEM"]
    if not findings:  # nothing else can be looked at without the packages
        try:
            findings = _look(chosen.config, chosen.overrides)
        except (ValueError, OSError) as error:
            print("".join(f"error: {line}\n" for line in str(error).splitlines()), end="", file=sys.stderr)
            return 1
    print(report(findings, as_json=chosen.json))
    return 1 if any(finding.level == "PROBLEM" for finding in findings) else 0


def _look(config_path: str | None, overrides: Sequence[str]) -> list[Finding]:
    if config_path is None:
        return check_machine(Path("runs"))
    from reskd.experiment.stages import check_stages, load_stages, teacher_stage

    configs = load_stages(config_path, overrides)
    check_stages(configs)
    findings = check_machine(configs[0].runs)
    for config in configs:
        stage = f"{config.name.rpartition('.')[2]}: " if len(configs) > 1 else ""
        found = check_config(config, teacher_stage(config, configs))
        findings += [dataclasses.replace(finding, topic=stage + finding.topic) for finding in found]
    return findings


if __name__ == "__main__":
    sys.exit(main())
