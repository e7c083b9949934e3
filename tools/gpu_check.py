#!/usr/bin/env python
"""Check whether this GPU decodes and trains as the project expects, and write the answers as JSON.

    python tools/gpu_check.py --out gpu_check.json

This file needs torch, DALI, PyAV and torchvision, and no other file of this project. Each part runs in a process of its
own: one that crashes, hangs or lacks a package is reported, and the others still run. The exit status is 1 if a part
failed, except for the damaged file. Without a GPU every part reports "skipped: no CUDA device".
"""

from __future__ import annotations

import argparse
import ctypes
import io
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

NO_DEVICE = "skipped: no CUDA device"
RESULT_MARK = "RESULT "
NUM_FRAMES, HEIGHT, WIDTH = 250, 256, 340
KEYFRAME_EVERY = 12
NUM_WANTED = 8
BATCH_SIZES = (1, 8, 32)
# The frame's number, burnt in as eight black or white squares along the top; it survives any codec.
BIT_SIDE, NUM_BITS = 24, 8


def wanted_frames(num_frames: int = NUM_FRAMES, num_wanted: int = NUM_WANTED) -> list[int]:
    """The middle frame of each of ``num_wanted`` equal segments."""
    return [(2 * index + 1) * num_frames // (2 * num_wanted) for index in range(num_wanted)]


def counted_frames(num_frames: int = NUM_FRAMES) -> np.ndarray:
    """Moving stripes under a burnt-in counter: uint8 (num_frames, 256, 340, 3) RGB; at most 256 frames."""
    import numpy as np

    y, x = np.mgrid[:HEIGHT, :WIDTH]
    frames = np.empty((num_frames, HEIGHT, WIDTH, 3), np.uint8)
    for number in range(num_frames):
        phases = (x + 2 * number, y - number, x + y + number)
        frames[number] = np.stack([128 + 90 * np.sin(phase / 17) for phase in phases], axis=-1).astype(np.uint8)
        for bit in range(NUM_BITS):
            frames[number, :BIT_SIDE, bit * BIT_SIDE : (bit + 1) * BIT_SIDE] = 255 * (number >> bit & 1)
    return frames


def read_counter(frame_HWC: np.ndarray) -> int:
    """The burnt-in number of a frame."""
    centers = [BIT_SIDE // 2 + bit * BIT_SIDE for bit in range(NUM_BITS)]
    return sum((int(frame_HWC[BIT_SIDE // 2, x].mean()) > 127) << bit for bit, x in enumerate(centers))


def encode(frames_THWC: np.ndarray, *, codec: str = "libx264", container: str = "mp4") -> bytes:
    """The frames as an encoded file with a keyframe every 12 frames and, if the codec has them, B-frames."""
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as target:
        options = {"crf": "18", "bf": "3", "sc_threshold": "0"} if codec == "libx264" else {"qscale": "2"}
        stream: Any = target.add_stream(codec, rate=25, options=options)
        stream.width, stream.height = frames_THWC.shape[2], frames_THWC.shape[1]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.gop_size = KEYFRAME_EVERY
        for frame_HWC in frames_THWC:
            target.mux(stream.encode(av.VideoFrame.from_ndarray(frame_HWC, format="rgb24")))
        target.mux(stream.encode(None))
    return buffer.getvalue()


def decode_with_pyav(data: bytes) -> np.ndarray:
    """Every frame of an encoded file: uint8 (frames, height, width, 3) RGB."""
    import av
    import numpy as np

    with av.open(io.BytesIO(data), "r") as source:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in source.decode(video=0)])


def sparse_stream(data: bytes, wanted: Sequence[int]) -> tuple[bytes, list[int]]:
    """Only the packets that the wanted frames need, as a Matroska file, and the wanted frames' numbers in it.

    In each GOP, all packets after the last wanted frame (in decode order) are left out; a GOP without a wanted frame is
    left out completely. Correct only for files whose packets map one to one to frames with distinct presentation times
    and closed GOPs, as ``encode`` makes them.
    """
    import av

    buffer = io.BytesIO()
    with av.open(io.BytesIO(data), "r") as source, av.open(buffer, "w", format="matroska") as target:
        stream = source.streams.video[0]
        packets: list[Any] = [packet for packet in source.demux(stream) if packet.size]
        display = sorted(packet.pts for packet in packets)
        wanted_pts = [display[number] for number in wanted]
        kept: list[Any] = []
        run: list[Any] = []
        for packet in packets:
            run = [packet] if packet.is_keyframe else [*run, packet]
            if packet.pts in wanted_pts:
                kept, run = kept + run, []
        kept_display = sorted(packet.pts for packet in kept)
        numbers = [kept_display.index(pts) for pts in wanted_pts]
        target_stream = target.add_stream_from_template(stream)
        for packet in kept:
            packet.stream = target_stream
            target.mux(packet)
    return buffer.getvalue(), numbers


def build_pipeline(data: bytes, numbers: Sequence[int], *, batch_size: int, device: str) -> Any:
    """A DALI pipeline that decodes the same frames of the same file ``batch_size`` times per run."""
    import numpy as np
    from nvidia.dali import fn, pipeline_def, types

    encoded, frames = np.frombuffer(data, np.uint8), np.asarray(numbers, np.int32)

    @pipeline_def(batch_size=batch_size, num_threads=8, device_id=0 if device == "mixed" else None)
    def graph() -> Any:
        kinds: dict[str, Any] = {"num_outputs": 2, "dtype": [types.UINT8, types.INT32], "ndim": [1, 1]}
        inputs = fn.external_source(source=lambda: ([encoded] * batch_size, [frames] * batch_size), **kinds)
        return fn.decoders.video(inputs[0], device=device, frames=inputs[1])

    return graph()


def decode_with_dali(data: bytes, numbers: Sequence[int], *, device: str = "mixed") -> np.ndarray:
    import numpy as np

    (decoded,) = build_pipeline(data, numbers, batch_size=1, device=device).run()
    return np.asarray(decoded.as_cpu().at(0))


def compare(found_THWC: np.ndarray, expected_THWC: np.ndarray, wanted: Sequence[int]) -> dict[str, object]:
    """Pixel differences in levels, and whether the burnt-in counters name the wanted frames."""
    import numpy as np

    difference = np.abs(found_THWC.astype(np.int16) - expected_THWC)
    counters = [read_counter(frame) for frame in found_THWC]
    return {
        "frames_exact": counters == list(wanted),
        "counters": counters,
        "max_abs_diff": int(difference.max()),
        "mean_abs_diff": round(float(difference.mean()), 3),
    }


def speed(data: bytes, numbers: Sequence[int], *, device: str = "mixed", runs: int = 4) -> dict[str, object]:
    """For each batch size: lowest, median and highest clips/s of five measurements; decoded frames/s at the median."""
    import numpy as np

    answers: dict[str, object] = {}
    for batch_size in BATCH_SIZES:
        pipeline = build_pipeline(data, numbers, batch_size=batch_size, device=device)
        rates = []
        for _ in range(6):
            start = time.perf_counter()
            for _ in range(runs):
                (decoded,) = pipeline.run()
            np.asarray(decoded.as_cpu().at(0))
            rates.append(runs * batch_size / (time.perf_counter() - start))
        ranked = sorted(rates[1:])  # the first one is the warmup
        median = statistics.median(ranked)
        answers[f"batch_{batch_size}"] = {
            "clips_per_s": [round(rate, 2) for rate in (ranked[0], median, ranked[-1])],
            "decoded_frames_per_s": round(median * (max(numbers) + 1)),
        }
    return answers


def part_facts() -> dict[str, object]:
    import torch

    if not torch.cuda.is_available():
        return {"skipped": NO_DEVICE}
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    return {
        "nvidia_smi": subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip(),
        "compute_capability": "{}.{}".format(*torch.cuda.get_device_capability(0)),
        "torch_arch_list": torch.cuda.get_arch_list(),
        "torch": f"{torch.__version__}, CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}",
        "others": {name: metadata.version(name) for name in ("nvidia-dali-cuda120", "av", "torchvision", "numpy")},
    }


def part_nvdec() -> dict[str, object]:
    try:
        ctypes.CDLL("libnvcuvid.so.1")
    except OSError as error:
        return {"library": False, "reason": str(error)}
    return {"library": True}


def _decoding(data: bytes, numbers: Sequence[int], wanted: Sequence[int], expected: np.ndarray) -> dict[str, object]:
    pixels = compare(decode_with_dali(data, numbers), expected, wanted)
    return {"bytes": len(data), "pixels": pixels, "speed": speed(data, numbers)}


def part_decode_whole() -> dict[str, object]:
    data, wanted = encode(counted_frames()), wanted_frames()
    return _decoding(data, wanted, wanted, decode_with_pyav(data)[wanted])


def part_decode_sparse() -> dict[str, object]:
    data, wanted = encode(counted_frames()), wanted_frames()
    return _decoding(*sparse_stream(data, wanted), wanted, decode_with_pyav(data)[wanted])


def damage(data: bytes) -> bytes:
    """Overwrite the middle tenth of the file with noise: the container stays readable, the pictures do not."""
    import numpy as np

    start, stop = int(0.45 * len(data)), int(0.55 * len(data))
    return data[:start] + np.random.default_rng(0).bytes(stop - start) + data[stop:]


def part_damaged_file() -> dict[str, object]:
    wanted = wanted_frames()
    try:
        found = decode_with_dali(damage(encode(counted_frames())), wanted)
    except RuntimeError as error:
        return {"outcome": "exception", "message": str(error)[-1500:]}
    black = [number for number, frame in zip(wanted, found, strict=True) if not frame.any()]
    wrong = [number for number, frame in zip(wanted, found, strict=True) if read_counter(frame) != number]
    return {"outcome": "no error", "black_frames": black, "frames_with_a_wrong_counter": wrong}


def part_train_step() -> dict[str, object]:
    """fp16 steps of a ResNet-50 TSN, 8 clips of 8 frames at 224, channels-last, with a GradScaler."""
    import torch
    from torchvision.models import resnet50

    model = resnet50(num_classes=400).cuda().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    scaler = torch.amp.GradScaler("cuda", init_scale=1024.0)
    frames_BCHW = torch.randn(64, 3, 224, 224, device="cuda").to(memory_format=torch.channels_last)
    labels_N, step_ms = torch.arange(8, device="cuda"), []
    for _ in range(12):
        torch.cuda.synchronize()
        start = time.perf_counter()
        with torch.autocast("cuda", torch.float16):
            logits_NK = model(frames_BCHW).unflatten(0, (8, 8)).mean(1)
            loss = torch.nn.functional.cross_entropy(logits_NK.float(), labels_N)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        torch.cuda.synchronize()
        step_ms.append(1000 * (time.perf_counter() - start))
    milliseconds = {"first": round(step_ms[0], 1), "median_of_last_10": round(statistics.median(step_ms[2:]), 1)}
    peak_gib = round(torch.cuda.max_memory_allocated() / 2**30, 2)
    return {"loss": round(loss.item(), 4), "step_ms": milliseconds, "scale": scaler.get_scale(), "peak_gib": peak_gib}


_PART_FUNCTIONS = (part_facts, part_nvdec, part_decode_whole, part_decode_sparse, part_damaged_file, part_train_step)
PARTS = {function.__name__.removeprefix("part_"): function for function in _PART_FUNCTIONS}


def run_isolated(command: Sequence[str], timeout_s: float) -> dict[str, Any]:
    """Run one part in a process and return its result and status: ok, failed, crashed (signal) or timed out."""
    start = time.perf_counter()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        return {"status": f"timed out after {timeout_s:g} s"}
    seconds = round(time.perf_counter() - start, 1)
    marked = [line for line in done.stdout.splitlines() if line.startswith(RESULT_MARK)]
    if done.returncode == 0 and marked:
        result = json.loads(marked[-1].removeprefix(RESULT_MARK))
        return {"status": result.pop("skipped", "ok"), "seconds": seconds, **result}
    status = f"crashed: signal {-done.returncode}" if done.returncode < 0 else "failed"
    return {"status": status, "seconds": seconds, "error": done.stderr[-1500:]}


def run_parts(timeout_s: float) -> dict[str, dict[str, Any]]:
    """Run all parts in order; without a CUDA device the first one reports it and the others are not started."""
    answers: dict[str, dict[str, Any]] = {}
    for name in PARTS:
        if answers and answers["facts"]["status"] == NO_DEVICE:
            answers[name] = {"status": NO_DEVICE}
        else:
            answers[name] = run_isolated([sys.executable, __file__, "--part", name], timeout_s)
        print(f"{name}: {answers[name]['status']}", flush=True)
    return answers


def main(arguments: Sequence[str] | None = None) -> int:
    options = build_parser().parse_args(arguments)
    if options.part is not None:
        print(RESULT_MARK + json.dumps(PARTS[options.part]()))
        return 0
    answers = run_parts(options.timeout_s)
    options.out.write_text(json.dumps(answers, indent=2) + "\n", encoding="utf-8")
    print(f"written to {options.out}")
    fine = [answer["status"] in ("ok", NO_DEVICE) or name == "damaged_file" for name, answer in answers.items()]
    return 0 if all(fine) else 1


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("gpu_check.json"), help="JSON file (default %(default)s)")
    parser.add_argument("--timeout-s", type=float, default=120, help="limit of a part in seconds (default %(default)s)")
    parser.add_argument("--part", choices=PARTS, help="run this part alone, in this process")
    return parser


if __name__ == "__main__":
    sys.exit(main())
