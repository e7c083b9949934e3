from __future__ import annotations

import errno
import json
import math
import re
import urllib.error
from collections.abc import Callable
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
import torch

from dali_pipes.fault_log import TooManyBadClipsError
from dali_pipes.jobs.map_files import map_isolated
from reskd.faults import fault_files_in, report_of_our_fault, sentence_of


def caught(call: Callable[[], Any]) -> Exception:
    with pytest.raises(Exception) as found:
        call()
    return found.value


def raises(error: Exception) -> Callable[[], None]:
    def call() -> None:
        raise error

    return call


@pytest.mark.parametrize("error", [ValueError("a: wrong"), TypeError("a: wrong"), TooManyBadClipsError("a: wrong")])
def test_our_own_raise_is_a_sentence(error: Exception) -> None:
    assert sentence_of(caught(raises(error))) == "a: wrong"


OURS: dict[str, Callable[[], Any]] = {
    "number": lambda: int("x"),
    "unpacking": lambda: [a for a, b in [(1, 2, 3)]],  # type: ignore[misc]
    "call": lambda: math.sqrt(),  # type: ignore[call-arg]
    "library": lambda: json.loads("{"),
    "tensor": lambda: torch.zeros(2) + torch.zeros(3),
    "key": lambda: {}["a"],
    "assertion": raises(AssertionError("never")),
    "depth": lambda: json.loads("[" * 100_000),
    "own module": lambda: __import__("reskd.no_such_module"),
}


@pytest.mark.parametrize("name", OURS)
def test_what_python_and_libraries_raise_is_a_fault_of_ours(name: str) -> None:
    assert sentence_of(caught(OURS[name])) is None


def _refuse(number: int) -> None:
    if number == 1:
        raise ValueError("a: wrong")
    int("x")


@pytest.mark.parametrize(("number", "sentence"), [(1, "a: wrong"), (2, None)])
def test_an_error_of_a_worker_process_is_told_apart_too(number: int, sentence: str | None) -> None:
    error = caught(lambda: list(map_isolated(_refuse, [number], num_workers=1)))
    assert sentence_of(error) == sentence


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            OSError(errno.EACCES, "Permission denied", "runs/a"),
            "runs/a: expected to use it, found: permission denied; ch",
        ),
        (
            OSError(errno.EROFS, "Read-only file system", "runs"),
            "runs: .*found: read-only file system; .*another place",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), "the system: .*no space left on device; the disk is full"),
        (OSError(errno.EMFILE, "Too many open files", "x"), "x: .*raise `ulimit -n`"),
        (FileNotFoundError("a: expected a file, found none."), "^a: expected a file, found none.$"),
        (urllib.error.URLError("no name"), "a download: .*no name; download the weights on another machine"),
        (urllib.error.HTTPError("http://a/b", 404, "gone", Message(), None), "http://a/b: .*gone"),
        (MemoryError(), "expected enough memory.*training.max_clips_per_pass"),
        (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried 2 GiB"), "Tried 2 GiB.*training.max_clips_per_pass"),
        (
            RuntimeError("CUDA error: no kernel image is available for execution on the device"),
            "expected code for this GPU .*found none; .*TORCH_CUDA_ARCH_LIST.*reskd doctor",
        ),
        (
            RuntimeError("The NVIDIA driver on your system is too old (found version 11040). Please update"),
            "expected a newer GPU driver, found: The NVIDIA driver .*11040",
        ),
        (ModuleNotFoundError("no", name="nvidia.dali"), "expected DALI, found none; run make install, or pip install"),
        (ModuleNotFoundError("no", name="onnx.checker"), "expected the package onnx, found none"),
    ],
)
def test_errors_of_the_system_have_a_sentence(error: Exception, sentence: str) -> None:
    assert re.search(sentence, sentence_of(caught(raises(error))) or "none")


def test_a_tensor_that_no_memory_holds_has_a_sentence() -> None:
    found = sentence_of(caught(lambda: torch.empty(2**55)))
    assert found and "expected enough memory" in found and "\n" not in found


def test_a_fault_of_ours_is_one_line_and_a_file(tmp_path: Path) -> None:
    def fail() -> None:
        with fault_files_in([tmp_path / "absent", tmp_path]):
            raise AssertionError("a\nb")

    line = report_of_our_fault(caught(fail), ["reskd", "train", "a b.yaml"])
    (file,) = tmp_path.iterdir()
    assert "\n" not in line and "(AssertionError: a b)" in line
    for part in (str(file), "reskd doctor", "reskd train 'a b.yaml'"):
        assert part in line
    assert "AssertionError: a\nb" in file.read_text() and "in fail" in file.read_text()
