from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

TOOL = Path(__file__).parents[2] / "tools/gpu_check.py"
SHORT = 60


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu_check", TOOL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


gpu_check = _load()


@pytest.fixture(scope="module")
def clip() -> bytes:
    return gpu_check.encode(gpu_check.counted_frames(SHORT))


def test_counter_survives_the_codec(clip: bytes) -> None:
    frames_THWC = gpu_check.decode_with_pyav(clip)
    assert [gpu_check.read_counter(frame) for frame in frames_THWC] == list(range(SHORT))


@pytest.mark.parametrize("wanted", [[0], [59], [3, 11, 12, 40], [7, 21, 35, 49], list(range(SHORT))])
def test_sparse_stream_is_exact_against_a_full_decode(clip: bytes, wanted: list[int]) -> None:
    sparse, numbers = gpu_check.sparse_stream(clip, wanted)
    found = gpu_check.decode_with_pyav(sparse)
    np.testing.assert_array_equal(found[numbers], gpu_check.decode_with_pyav(clip)[wanted])


def test_sparse_stream_leaves_packets_out(clip: bytes) -> None:
    sparse, _ = gpu_check.sparse_stream(clip, [7, 40])
    assert len(gpu_check.decode_with_pyav(sparse)) <= 2 * gpu_check.KEYFRAME_EVERY


def test_the_dali_graph_finds_the_right_frames_on_the_cpu() -> None:
    pytest.importorskip("nvidia.dali")
    data = gpu_check.encode(gpu_check.counted_frames(30), codec="mjpeg", container="avi")
    found = gpu_check.decode_with_dali(data, [3, 17, 29], device="cpu")
    answer = gpu_check.compare(found, gpu_check.decode_with_pyav(data)[[3, 17, 29]], [3, 17, 29])
    assert answer["frames_exact"] and answer["mean_abs_diff"] < 4


def test_a_wrong_frame_is_noticed() -> None:
    frames_THWC = gpu_check.counted_frames(4)
    assert not gpu_check.compare(frames_THWC[[0, 2]], frames_THWC[[0, 1]], [0, 1])["frames_exact"]


def test_a_damaged_file_keeps_its_length_and_loses_its_pictures(clip: bytes) -> None:
    damaged = gpu_check.damage(clip)
    assert len(damaged) == len(clip) and damaged != clip
    assert damaged[: len(clip) // 3] == clip[: len(clip) // 3]


@pytest.mark.parametrize(
    ("program", "status"),
    [
        ("import os; os.kill(os.getpid(), 9)", f"crashed: signal {int(signal.SIGKILL)}"),
        ("raise SystemExit('no such package')", "failed"),
        ("import time; time.sleep(60)", "timed out after 0.5 s"),
        ("print('RESULT {\"library\": true}')", "ok"),
        ('print(\'RESULT {"skipped": "no"}\')', "no"),
    ],
)
def test_whatever_becomes_of_a_part_is_an_answer(program: str, status: str) -> None:
    timeout_s = 0.5 if "sleep" in program else 30
    assert gpu_check.run_isolated([sys.executable, "-c", program], timeout_s)["status"] == status


def test_without_a_gpu_every_part_is_skipped_and_the_json_is_valid(tmp_path: Path) -> None:
    out = tmp_path / "answer.json"
    # An empty list of visible devices makes the test the same on a machine with a GPU.
    command = [sys.executable, str(TOOL), "--out", str(out)]
    done = subprocess.run(command, env={"CUDA_VISIBLE_DEVICES": "", "PATH": "/usr/bin:/bin"}, check=False)
    answers = json.loads(out.read_text())
    assert done.returncode == 0
    assert set(answers) == set(gpu_check.PARTS)
    assert {answer["status"] for answer in answers.values()} == {"skipped: no CUDA device"}


@pytest.mark.gpu
def test_every_part_passes_on_a_gpu(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    out = tmp_path / "answer.json"
    assert gpu_check.main(["--out", str(out)]) == 0
    answers = json.loads(out.read_text())
    assert answers["decode_whole"]["pixels"]["frames_exact"]
    assert answers["decode_sparse"]["pixels"]["frames_exact"]
