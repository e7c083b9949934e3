"""Judges a machine by the facts that reskd doctor collects on it.

Only the standard library is imported at the top, as any package may be missing.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from reskd.environment import DALIS, TESTED, TESTED_FOR_TRAINING, in_tested_range

if TYPE_CHECKING:
    from dali_pipes.nvdec.abilities import Nvdec

GIB = 2**30
# Oldest Linux driver branch for each CUDA major version (docs.nvidia.com/deploy/cuda-compatibility, minor version
# compatibility).
MIN_DRIVER = {12: 525, 13: 580}
# One good file of each codec, as FFmpeg describes it: pixel format and color range.
_LIMITED = dict.fromkeys(("h264", "hevc", "vp9", "vp8", "av1", "mjpeg", "mpeg4"), ("yuv420p", "limited"))
CODECS = {**_LIMITED, "mjpeg": ("yuvj420p", "full")}
# Core-seconds to decode 8 frames spread over a 250-frame 340x256 H.264 clip with PyAV.
PYAV_DECODE_SECONDS = 0.2


@dataclass(frozen=True)
class Finding:
    """The result for one topic: fine, worth knowing, or to be fixed."""

    level: Literal["OK", "NOTE", "PROBLEM"]
    topic: str
    text: str


def check_driver(driver: str | None, torch_cuda: str | None, *, usable: bool) -> Finding:
    """``usable``: torch.cuda.is_available(); ``torch_cuda``: the CUDA version torch was built with."""
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
    """Whether torch has code for the GPU: for its major version, or PTX that the driver can translate."""
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


def check_nvdec(nvdec: Nvdec | None) -> Finding:
    """``nvdec``: the decoder of the GPU; None without a GPU."""
    if nvdec is None:
        return Finding("OK", "NVDEC", "not needed without a GPU.")
    if nvdec.problem:
        return Finding("PROBLEM", "NVDEC", f"{nvdec.problem}; or set data.loader.decoder=pyav.")
    sizes = (
        f"{codec} {limits.min_width}x{limits.min_height} to {limits.max_width}x{limits.max_height}"
        for codec, limits in sorted((nvdec.limits or {}).items())
    )
    found = "; run reskd gpu-check once: until then only H.264 and HEVC are decoded on it"
    if nvdec.proven or nvdec.wrong:
        found = f"; reskd gpu-check found right: {', '.join(sorted(nvdec.proven)) or 'none'}"
    if nvdec.wrong:
        found += f"; wrong, so left to PyAV: {', '.join(sorted(nvdec.wrong))}"
    return Finding("NOTE" if nvdec.wrong else "OK", "NVDEC", f"the GPU decodes {', '.join(sizes)}{found}.")


def check_decoders(nvdec: Nvdec | None, *, dali: bool) -> Finding:
    """The decoder for a good file of each codec on this machine, by the loader's rule; ``nvdec``: as above."""
    from dali_pipes.loader.decoder_choice import DecoderRule
    from dali_pipes.video_info import VideoInfo

    if not dali:
        return Finding("NOTE", "decoder", "PyAV on the CPU for all codecs, as no DALI is installed.")
    rule = DecoderRule("cuda", nvdec=nvdec) if nvdec else DecoderRule("cpu")
    names = {"dali": "DALI on NVDEC", "pyav": "PyAV on the CPU"}
    decoders: dict[str, list[str]] = {}
    for codec, (pix_fmt, color_range) in CODECS.items():
        video_info = VideoInfo(250, 250, 340, 256, 0, codec, pix_fmt, "untagged", color_range, 1, 1, "ok")
        decoders.setdefault(names[rule.choose(video_info)], []).append(codec)
    text = "; ".join(f"{way}: {', '.join(codecs)}" for way, codecs in decoders.items())
    return Finding(
        "OK", "decoder", f"{text} (cut, rotated, interlaced or BT.709 files always PyAV)." if nvdec else f"{text}."
    )


def check_shared_memory(total_bytes: int, free_bytes: int) -> Finding:
    text = f"/dev/shm has {free_bytes / GIB:.1f} of {total_bytes / GIB:.1f} GiB free"
    if free_bytes < GIB / 4:
        remedy = "start the container with --shm-size=8g, or remove unused files there"
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
    rate = num_cores / PYAV_DECODE_SECONDS
    text = f"{num_cores}: PyAV decodes about {rate:.0f} clips/s of 250 frames at 340x256"
    return Finding("NOTE" if num_cores < 4 else "OK", "CPU cores", f"{text} when nothing else runs.")


def check_versions(installed: Mapping[str, str | None]) -> list[Finding]:
    findings = []
    for name, (oldest, newest) in (TESTED | TESTED_FOR_TRAINING).items():
        version = installed.get(name)
        if version is None and name in TESTED_FOR_TRAINING:
            text = "not installed, and training and evaluating need it: pip install 'reskd[train]'."
            findings.append(Finding("NOTE", name, text))
        elif version is None:
            findings.append(Finding("PROBLEM", name, f"not installed (tested: {oldest} to {newest}): make install."))
        elif in_tested_range(name, version):
            findings.append(Finding("OK", name, version))
        else:
            text = f"{version} is outside the tested range {oldest} to {newest}; if something fails, make install."
            findings.append(Finding("NOTE", name, text))
    return findings


def check_opencv(installed: Sequence[str]) -> list[Finding]:
    """``installed``: names of OpenCV's packages; two of them overwrite each other's files."""
    if len(installed) < 2:
        return []
    text = f"{' and '.join(installed)} fill one Python package, and removing one damages the other"
    return [Finding("NOTE", "OpenCV", f"{text}; uninstall all, then install opencv-python-headless.")]


def check_dali(installed: Mapping[str, str | None], driver: str | None = None) -> Finding:
    """One DALI is to be there, and a driver that is new enough for its CUDA. ``driver``: None without a GPU."""
    found = {name: version for name in DALIS if (version := installed.get(name))}
    if not found:
        text = "not installed, so PyAV decodes on the CPU and torch's DataLoader makes the batches; to decode on a GPU"
        return Finding("NOTE", "DALI", f"{text}: pip install 'reskd[cuda12]' (drivers from 525 on) or 'reskd[cuda13]'.")
    if len(found) > 1:
        text = f"{' and '.join(found)} fill one Python package, and the one that was installed first is damaged"
        return Finding("PROBLEM", "DALI", f"{text}; uninstall both and install one of them.")
    ((name, version),) = found.items()
    major = 13 if name.endswith("cuda130") else 12
    if driver is not None and int(driver.split(".")[0]) < MIN_DRIVER[major]:
        text = f"{name} {version} needs a driver from {MIN_DRIVER[major]} on, found {driver}"
        return Finding("PROBLEM", "DALI", f"{text}; update the driver, or install nvidia-dali-cuda120 in its place.")
    if not in_tested_range(name, version):
        return Finding(
            "NOTE", "DALI", f"{name} {version} is outside the tested range; if something fails, make install."
        )
    return Finding("OK", "DALI", f"{name} {version}")


def check_npp(missing: Sequence[str] | None) -> Finding:
    """``missing``: libraries of NPP that DALI's operators name and that are not found; None without a GPU.

    Their wheels are no requirement of DALI's, and a machine with a bare driver has none.
    """
    if not missing:
        return Finding("OK", "NPP", "not needed without a GPU." if missing is None else "found.")
    text = f"{', '.join(missing)} not found: DALI's operators name them, and some may fail"
    return Finding("NOTE", "NPP", f"{text}; pip install nvidia-npp-cu12, or install CUDA's toolkit.")


def check_native_op(backends: Mapping[str, str | None], *, num_gpus: int) -> Finding:
    """``backends``: name -> why it cannot run, or None (reskd.ops.available_backends)."""
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


def report(findings: Sequence[Finding], *, as_json: bool) -> str:
    """The findings as text, one line each and the number of problems, or as JSON."""
    if as_json:
        return json.dumps([dataclasses.asdict(finding) for finding in findings], indent=2)
    lines = [f"{finding.level:8}{finding.topic}: {finding.text}" for finding in findings]
    num_problems = sum(finding.level == "PROBLEM" for finding in findings)
    return "\n".join([*lines, f"{num_problems} problem{'' if num_problems == 1 else 's'}."])
