from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from dali_pipes.loader import memory
from dali_pipes.loader.sample import FAULT_BYTES
from tests.dali_pipes.loader.test_clip_loader import make_config, make_manifest
from tests.reskd.commands.test_train import write_config

ROOT = Path(__file__).parents[3]


def test_a_view_counts_with_its_pixels_and_both_queues(make_folder: Callable[..., Path]) -> None:
    folder = make_folder({"h264": ["libx264"], "vp9": ["libvpx-vp9"]})
    config = make_config(folder)
    height, width = config.views.student.size
    found = memory.needed_bytes(make_manifest(config), config, ("student_THWC", "about"), 3, 4)
    assert found == 2 * config.loader.prefetch * 3 * (4 * height * width * 3 + FAULT_BYTES) + memory._QUEUES


def test_too_little_is_refused_with_the_option_of_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type(shutil.disk_usage("/"))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(64 << 20, 4 << 20, 60 << 20))
    memory.check_shared_memory(60 << 20)
    with pytest.raises(
        ValueError, match="expected 61 MiB .* found 60 of 64 MiB; start the container with --shm-size=1g"
    ):
        memory.check_shared_memory(61 << 20)
    with pytest.raises(ValueError, match="--shm-size=4g"):
        memory.check_shared_memory(3 << 30)


@pytest.mark.slow
def test_a_container_with_too_little_shared_memory_is_told_so(tmp_path: Path, make_folder: Callable[..., Path]) -> None:
    small = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    script = 'mount -t tmpfs -o size=1m tmpfs /dev/shm && exec "$@"'
    if shutil.which("unshare") is None or subprocess.run([*small, script, "sh", "true"], check=False).returncode:
        pytest.skip("this machine does not let a user mount a file system of its own")
    videos = make_folder({"left": ["libx264"] * 4, "right": ["libx264"] * 4}, num_frames=12)
    config = write_config(tmp_path, "small", videos)
    tree = yaml.safe_load(config.read_text())
    config.write_text(yaml.safe_dump(tree | {"training": {"epochs": 1, "global_batch_size": 2}}))
    command = [*small, script, "sh", sys.executable, "tools/train.py", str(config)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert result.returncode == 1 and len(errors) == 1, result.stderr
    assert re.search("/dev/shm: expected .* MiB of free shared memory .*--shm-size=1g", errors[0])
    assert "Traceback" not in result.stderr and ".mp4" not in errors[0]


def test_shared_memory_that_is_missing_or_read_only_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_SHARED", tmp_path / "shm")
    with pytest.raises(ValueError, match=r"shm: expected the system's shared memory, found none .* mount a tmpfs"):
        memory.check_shared_memory(1)
    (tmp_path / "shm").mkdir()
    memory.check_shared_memory(1)
    monkeypatch.setattr(memory.os, "access", lambda path, mode: False)
    with pytest.raises(ValueError, match="found it read-only; mount it writable"):
        memory.check_shared_memory(1)
