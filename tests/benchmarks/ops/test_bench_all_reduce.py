from __future__ import annotations

import re
import subprocess
import sys

import pytest

from benchmarks.ops import bench_all_reduce
from reskd.cli import run_tool


def test_two_processes_sum_and_rank_0_prints() -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    command += ["-m", "benchmarks.ops.bench_all_reduce", "--mib", "0.001", "0.5", "--rounds", "2", "--device", "cpu"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert re.findall(r"^([0-9.]+) MiB: [0-9.]+ ms, [0-9.e-]+ GB/s, [0-9]+ us a message$", output, re.MULTILINE) == [
        "0.001",
        "0.5",
    ]


def test_one_process_has_nothing_to_sum(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_tool(bench_all_reduce.main, ["--device", "cpu"]) == 1
    assert "expected several processes, found one" in capsys.readouterr().err


@pytest.mark.parametrize("size", ["nan", "-1", "large"])
def test_a_size_that_is_none_is_refused(size: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench_all_reduce.main(["--mib", size])
    assert f"--mib: expected a number from 0.001 to 1e+06, found '{size}'" in capsys.readouterr().err
