"""The parts of ``reskd gpu-check``: what each asks, how long it may take, and how it is answered.

A part runs in a process of its own, whose output goes to a log; what it returns is its answer. Most parts run the
project's own commands and tests, as users run them. Nothing heavy is imported at the top: the usage names the parts.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reskd.gpu_checks.training_files import copy_often, write_frame_folders
from reskd.profiling.measurement_rows import read_rows

if TYPE_CHECKING:
    from dali_pipes.loader.decoder_choice import DeviceKind

ROOT = Path(__file__).resolve().parents[2]
RESKD = (sys.executable, "-m", "reskd")
Answer = dict[str, Any]
_IN_CHECKOUT = (ROOT / "setup.py").is_file()
_NEEDS_CHECKOUT: Answer = {"skipped": "needs a checkout, which has the tests and benchmarks"}
CODECS = ("h264", "hevc", "vp8", "vp9", "av1", "mjpeg")
_KINDS = ("h264-g12", "h264-g250", "hevc-g50", "mjpeg")
_COMMAND_LIMIT_S = 240
_FRAMES_PER_CLIP = 8


@dataclass(frozen=True)
class Site:
    """Where the parts run.

    Args:
        folder: of the answers, logs and scratch files.
        device: "cpu" rehearses every part with small networks and few files; its numbers say nothing about a GPU.
        videos: a folder of real videos for the part "files"; None: made-up ones.
    """

    folder: Path
    device: DeviceKind
    videos: Path | None = None

    @property
    def on_gpu(self) -> bool:
        return self.device == "cuda"

    def scratch(self, name: str) -> Path:
        """A new folder for files that no one needs afterwards."""
        folder = self.folder / "scratch" / name
        folder.mkdir(parents=True)
        return folder


@dataclass(frozen=True)
class Part:
    """One part.

    Args:
        question: what it answers.
        limit_s: seconds after which it is ended.
        answer: returns facts for the report: "table" is a list of rows; "problem" says why the part failed, "skipped"
            why it could not be tried.
    """

    question: str
    limit_s: float
    answer: Callable[[Site], Answer]


def _facts(site: Site) -> Answer:
    from dataclasses import asdict

    from dali_pipes.nvdec.verdicts import nvdec_of
    from reskd.environment import describe_environment

    found: Answer = {"environment": describe_environment()}
    doctor = subprocess.run([*RESKD, "doctor", "--json"], **_captured())
    if doctor.stdout.startswith("["):
        found["table"] = [finding for finding in json.loads(doctor.stdout) if finding["level"] != "OK"]
    if site.on_gpu:
        query = "name,driver_version,memory.total,power.limit,clocks.max.sm,clocks.max.mem,pcie.link.gen.max"
        found["nvidia_smi"] = _output("nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader")
        nvdec = asdict(nvdec_of(0)).items()
        found["nvdec"] = {name: sorted(value) if isinstance(value, frozenset) else value for name, value in nvdec}
    return found


def _build(site: Site) -> Answer:
    """Compile the native operators for this GPU, unless they are there."""
    import torch

    wanted = "cuda" if site.on_gpu else "cpu"
    environment = {**os.environ, "RESKD_BUILD": wanted}
    if site.on_gpu:
        environment["TORCH_CUDA_ARCH_LIST"] = "{}.{}".format(*torch.cuda.get_device_capability(0))
    if (reason := _why_no_kernel(wanted)) is not None and _IN_CHECKOUT:
        _run([sys.executable, "setup.py", "build_ext", "--inplace"], environment)
        reason = _why_no_kernel(wanted)
    return {"backend": wanted, **({"problem": reason} if reason else {})}


def _why_no_kernel(backend: str) -> str | None:
    """Asked in another process, as this one would keep the library that it found first."""
    program = "from reskd.ops.dispatch import available_backends; import json; print(json.dumps(available_backends()))"
    found: dict[str, str | None] = json.loads(_output(sys.executable, "-c", program))
    return found[backend]


def _frames(codec: str, site: Site) -> Answer:
    from reskd.gpu_checks.counted_videos import encodings_of
    from reskd.gpu_checks.frames import check_codec

    if not encodings_of(codec):
        return {"skipped": f"PyAV's FFmpeg has no encoder of {codec}"}
    found = check_codec(codec, site.scratch(f"frames_{codec}"), device=site.device)
    if found["right"] is None:
        return {"skipped": f"left to PyAV: {'; '.join(found['refused'])}"}
    problem = {} if found["right"] else {"problem": "wrong frames, or the loader restarted"}
    return {"table": found["checks"], **problem}


def _tests(site: Site) -> Answer:
    """Run the tests marked gpu, each file in a process of its own; a skipped test counts as failed on a GPU."""
    if not _IN_CHECKOUT:
        return _NEEDS_CHECKOUT
    rows: list[dict[str, str]] = []
    scratch = site.scratch("tests")
    for file in sorted(ROOT.glob("tests/**/test_*.py")):
        if "mark.gpu" in (text := file.read_text(encoding="utf-8")) or "tests.devices" in text:
            rows += _results_of(file.relative_to(ROOT), scratch / f"{len(rows)}.xml")
    not_passed = [row for row in rows if row["outcome"] != "passed"]
    if not site.on_gpu and all(row["outcome"] == "skipped" for row in not_passed):
        return {"table": rows, "skipped": f"{len(not_passed)} of {len(rows)} tests need a CUDA device"}
    return {"table": rows, **({"problem": f"{len(not_passed)} of {len(rows)} did not pass"} if not_passed else {})}


def _results_of(file: Path, xml: Path) -> list[dict[str, str]]:
    command = [sys.executable, "-m", "pytest", "-q", "-rsf", "-p", "no:cacheprovider", "-m", "gpu", f"--junitxml={xml}"]
    try:
        subprocess.run([*command, str(file)], cwd=ROOT, timeout=_COMMAND_LIMIT_S, check=False)
        cases = list(ElementTree.parse(xml).iter("testcase"))
    except (subprocess.TimeoutExpired, OSError, ElementTree.ParseError) as error:
        why = f"{type(error).__name__}, see the log"
        return [{"file": str(file), "test": "all", "outcome": "failed", "reason": why}]
    rows = []
    for case in cases:
        found = next((child for child in case if child.tag in ("failure", "error", "skipped")), None)
        outcome = "passed" if found is None else "skipped" if found.tag == "skipped" else "failed"
        reason = "" if found is None else found.get("message", "").strip().splitlines()[:1]
        rows.append({"file": str(file), "test": case.get("name", ""), "outcome": outcome, "reason": "".join(reason)})
    return rows


def _loss(site: Site) -> Answer:
    if not _IN_CHECKOUT:
        return _NEEDS_CHECKOUT
    csv = site.folder / "loss.csv"
    csv.unlink(missing_ok=True)
    size = ["--dtypes", "fp32", "fp16"] if site.on_gpu else ["--frames", "4", "--channels", "16", "--no-compile"]
    command = [sys.executable, "-m", "benchmarks.ops.bench_loss", "--device", site.device, "--rounds", "7", *size]
    _run([*command, "--csv", csv])
    shown = ("case", "dtype", "candidate", "phase", "median_ms", "times_eager", "times_floor")
    return {"table": _columns(csv, shown)}


def _decode(site: Site) -> Answer:
    """Clips/s of this project's loader, DALI's own readers and torchcodec, over kinds of files and threads."""
    clips = site.scratch("standard_clips")
    kinds = _KINDS if site.on_gpu else ("mjpeg",)
    tool: list[str | Path] = [*RESKD, "profile", "decode"]
    _run([*tool, "--make", clips, "--kinds", *kinds, "--videos", "4" if site.on_gpu else "1"])
    size = (
        ["--clips", "96", "--batch", "32", "--rounds", "3"]
        if site.on_gpu
        else ["--clips", "2", "--batch", "2", "--rounds", "1"]
    )
    names = ["reskd", "dali-reader", "dali-decoder", *(["torchcodec-cuda"] if site.on_gpu else [])]
    tool += ["--root", clips, "--frames", str(_FRAMES_PER_CLIP), "--device", site.device, *size]
    table: list[dict[str, str]] = []
    for workers in (4, 8, 16) if site.on_gpu else (1,):
        rows = site.folder / f"decode_{workers}_threads"
        shutil.rmtree(rows, ignore_errors=True)
        candidates = names if workers == 8 or not site.on_gpu else names[:1]
        _run([*tool, "--workers", str(workers), "--out", rows, "--candidates", *candidates])
        shown = ("files", "codec", "candidate", "status", "clips_per_s", "cpu_ms", "amplification", "wrong_frames")
        table += [{"workers": str(workers), **row} for row in _columns(rows / "profile_decode.csv", shown)]
    rates = _megapixels_per_s(table)
    if site.on_gpu:
        from dali_pipes.nvdec.driver import name_of_gpu
        from dali_pipes.nvdec.verdicts import keep_rates

        keep_rates(name_of_gpu(0), rates)
    return {"megapixels_per_s": rates, "table": table}


def _megapixels_per_s(table: Sequence[Mapping[str, str]]) -> dict[str, float]:
    """Codec -> megapixels decoded a second by this project's loader, with the files and threads that give most."""
    from reskd.profiling.decode.standard_clips import HEIGHT, WIDTH

    rates: dict[str, float] = {}
    for row in table:
        if row["candidate"] == "reskd" and row["status"] == "ok":
            frames_per_s = float(row["clips_per_s"]) * _FRAMES_PER_CLIP * float(row["amplification"])
            rates[row["codec"]] = max(rates.get(row["codec"], 0.0), frames_per_s * WIDTH * HEIGHT / 1e6)
    return {codec: round(rate, 1) for codec, rate in rates.items()}


def _step(site: Site) -> Answer:
    """The ceiling of a training step, on batches that lie on the device."""
    if not site.on_gpu:
        return _rates(site, "step", ["--synthetic"])
    sweep = ["--precisions", "fp16", "bf16", "--clips-per-pass", "32", "64"]
    return _rates(site, "step", ["--synthetic", "--rounds", "3", *sweep])


def _compiled(site: Site) -> Answer:
    """The same step compiled, and as CUDA graphs; an own part, as compiling may fail or take minutes."""
    if not site.on_gpu:
        return _rates(site, "compiled", ["--synthetic", "--compile", "all"])
    which = ["--precisions", "fp16", "--compile", "off", "all", "--cuda-graphs"]
    return _rates(site, "compiled", ["--synthetic", "--rounds", "3", *which])


def _files(site: Site) -> Answer:
    """The same step on videos, decoded by DALI and by PyAV."""
    videos = site.videos
    if videos is None:
        videos = site.scratch("videos")
        copy_often(_transcoded(site), videos, copies=48 if site.on_gpu else 4)
    table: list[dict[str, str]] = []
    for decoder in ("prefer_dali", "pyav") if site.on_gpu else ("pyav",):
        rows = _rates_on_files(site, f"files_{decoder}", [f"data.root={videos}", f"data.loader.decoder={decoder}"])
        table += [{"decoder": decoder, **row} for row in rows]
    return {"table": table}


def _frame_files(site: Site) -> Answer:
    """The same step on the frames of made-up videos as JPEG files, which nvJPEG decodes on a GPU."""
    frames = site.scratch("frame_folders")
    write_frame_folders(_transcoded(site), frames, copies=12 if site.on_gpu else 2)
    return {"table": _rates_on_files(site, "frame_files", [f"data.root={frames}", "data.storage.kind=frames"])}


def _rates_on_files(site: Site, name: str, settings: Sequence[str]) -> list[dict[str, str]]:
    more = ["--rounds", "3", "--precisions", "fp16"] if site.on_gpu else ["--rounds", "1"]
    return list(_rates(site, name, [*settings, *more])["table"])


def _transcoded(site: Site) -> list[Path]:
    """Videos as ``reskd prepare transcode`` leaves them."""
    clips = site.scratch("clips")
    num_clips = 8 if site.on_gpu else 2
    make: list[str | Path] = ["--make", clips / "made", "--kinds", "h264-g50", "--videos", str(num_clips)]
    _run([*RESKD, "profile", "decode", *make])
    _run([*RESKD, "prepare", "transcode", clips / "made", clips / "short", "--gop", "12"])
    return sorted((clips / "short").rglob("*.mp4"))


# On a CPU: networks and batches that take no time.
_SMALL = ("student.backbone=resnet18", "teacher.model.backbone=resnet18", "training.global_batch_size=2",
          "data.sampling.num_frames=2", "data.views.teacher.size=64", "data.views.student.size=32",
          "--rounds", "1", "--steps", "1", "--used-up", "1")  # fmt: skip


def _rates(site: Site, name: str, arguments: Sequence[str]) -> Answer:
    csv = site.folder / f"{name}.csv"
    csv.unlink(missing_ok=True)
    small = [] if site.on_gpu else ["device=cpu", *_SMALL]
    _run([*RESKD, "profile", "train", "configs/throughput.yaml", "--csv", csv, *small, *arguments])
    shown = ("precision", "clips_per_pass", "compile", "loop", "clips_per_second", "step_ms", "wait_share", "mfu",
             "peak_tflops", "memory_gib", "data_ms", "teacher_ms", "student_ms", "loss_ms", "backward_ms",
             "optimizer_ms")  # fmt: skip
    return {"table": _columns(csv, shown)}


def _columns(csv: Path, names: Sequence[str]) -> list[dict[str, str]]:
    return [{name: row[name] for name in names} for row in read_rows(csv)]


def _run(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> None:
    """Run a command of the project; its output goes to the part's log."""
    subprocess.run([str(word) for word in command], cwd=ROOT, env=environment, check=True)


def _output(*command: str) -> str:
    """What a command prints; nothing if it cannot be run."""
    try:
        return str(subprocess.run(command, **_captured()).stdout).strip()
    except OSError:
        return ""


def _captured() -> dict[str, Any]:
    return {"cwd": ROOT, "stdout": subprocess.PIPE, "text": True, "check": False}


PARTS: dict[str, Part] = {
    "facts": Part("What is this machine?", 50, _facts),
    "build": Part("Do the native operators compile and load?", 200, _build),
    **{
        f"frames_{codec}": Part(f"Does DALI show the right frames of {codec}?", 65, partial(_frames, codec))
        for codec in CODECS
    },
    "tests": Part("Do the tests that need a GPU pass?", 400, _tests),
    "loss": Part("How fast is the fused loss, beside eager PyTorch, torch.compile and a copy?", 120, _loss),
    "step": Part("How fast is a training step without data?", 120, _step),
    "compiled": Part("Is a step faster with torch.compile and CUDA graphs?", 180, _compiled),
    "decode": Part("How many clips a second are decoded, over kinds of files and threads?", 120, _decode),
    "files": Part("How much of the step's speed is left on real files?", 130, _files),
    "frame_files": Part("How much of it is left on folders of JPEG frames?", 70, _frame_files),
}
