"""Two torchrun agents on one machine, as two nodes: the same run as by one agent, and exact after a node is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from reskd.training.checkpoint import load_checkpoint
from tests.reskd.commands.test_train import CODECS, lines_of, torchrun, write_config
from tests.reskd.training.tiny import losses


def node(number: int, config: Path, port: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--node-rank", str(number)]
    command += ["--nproc-per-node", "1", "--master-addr", "127.0.0.1", "--master-port", str(port)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*command, "-m", "reskd.train", str(config)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, start_new_session=True,
    )  # fmt: skip


def finish(nodes: list[subprocess.Popen[str]]) -> str:
    return "".join(process.communicate(timeout=300)[0] for process in nodes)


@pytest.mark.slow
def test_two_nodes_train_as_one_and_go_on_after_one_is_lost(tmp_path: Path, make_folder: Callable[..., Path]) -> None:
    videos = make_folder(CODECS, num_frames=12)
    training = {"epochs": 4, "global_batch_size": 4, "log_every_steps": 1, "checkpoint_every_steps": 1}
    whole = write_config(tmp_path, "whole", videos, training=training)
    torchrun(2, whole).communicate(timeout=300)
    expected = losses(lines_of(tmp_path / "runs" / "whole"))
    assert len(expected) == 8

    port = 30600 + os.getpid() % 1000
    halves = write_config(tmp_path, "halves", videos, training=training)
    run = tmp_path / "runs" / "halves"
    nodes = [node(number, halves, port) for number in range(2)]
    deadline = time.monotonic() + 300
    while len(lines_of(run)) < 3 and nodes[0].poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(nodes[1].pid, signal.SIGKILL)
    output = finish(nodes)
    assert "ranks 0 to 1: " in output and nodes[0].returncode != 0
    stopped_at = load_checkpoint(run / "last.pt")["num_steps"]
    assert 1 <= stopped_at < 8, output

    output = finish([node(number, halves, port + 1) for number in range(2)])
    assert f"step {stopped_at} of 8" in output
    assert losses(lines_of(run)) == expected
