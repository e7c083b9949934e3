"""Turns an exception into what a user reads: a sentence, or one line about a fault of reskd and where its traceback is.

Only the standard library is imported at the top, as ``--help`` must be quick and any package may be missing.

Note [Whose fault an exception is]
A ``raise`` in our code with one of ``_USER_FAULTS`` is a sentence for the user. The same type from anywhere else is
not: ``int("x")`` in our code raises ValueError too, and says nothing about a file or a setting. The bytecode tells the
two apart. An OSError is the system's answer wherever it comes from; it is named by its file. A few errors of libraries,
such as a lack of memory, have a sentence here. What is left is a fault of reskd.
"""

from __future__ import annotations

import dis
import errno
import os
import shlex
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from dali_pipes.fault_log import UnreadableDataError
from reskd.environment import extra_with

_USER_FAULTS = (ValueError, TypeError, FloatingPointError, UnreadableDataError)
_OUR_PACKAGES = ("reskd", "dali_pipes", "benchmarks", "tools", "tests", "__main__")
_FOLDERS_ATTRIBUTE = "reskd_fault_folders"

_MEMORY_ADVICE = (
    "lower training.max_clips_per_pass (the rest of the batch is accumulated), training.global_batch_size, the views' "
    "sizes or sampling.num_frames; for reskd evaluate and reskd predict lower --batch-size"
)
_LONGEST_PATH = 300  # characters shown
_NETWORK_ERRORS = ("DistNetworkError", "DistStoreError", "DistBackendError")
# Part of a RuntimeError's message -> the sentence.
_OF_TORCH: Mapping[str, str] = {
    "no kernel image is available": "expected code for this GPU in torch or in the project's operators, found none; "
    "install a torch that knows the GPU, build the operators for it (TORCH_CUDA_ARCH_LIST, RESKD_BUILD=cuda), and see "
    "reskd doctor.",
    "driver on your system is too old": "expected a newer GPU driver, found: {said}; see reskd doctor, or set "
    "device=cpu.",
    "home directory": "expected a home folder, found none; set the variable HOME to a folder that can be written.",
    "can't start new thread": "expected to start a thread, found the limit reached; raise `ulimit -u`, or set "
    "OMP_NUM_THREADS=1.",
}
_ADVICE: Mapping[int, str] = {
    errno.EACCES: "change its permissions, or name another place",
    errno.EPERM: "change its permissions, or name another place",
    errno.EROFS: "its file system is read-only; name another place",
    errno.ENOSPC: "the disk is full; make room, or name another place",
    errno.EDQUOT: "the quota is used up; make room, or name another place",
    errno.EFBIG: "the largest size allowed for a file is reached; raise `ulimit -f`, or name another place",
    errno.EMFILE: "too many files are open; raise `ulimit -n`, or lower data.loader.num_workers",
    errno.ENFILE: "too many files are open on this machine; close other programs",
    errno.ENOMEM: "the memory is used up; close other programs, or use a smaller batch",
    errno.EIO: "the disk or network failed; check it and start again",
    errno.ESTALE: "the network disk changed meanwhile; mount it again",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "a part of the path is not a folder; check the path",
    errno.EISDIR: "it is a folder; name a file",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.ELOOP: "its links form a circle; mend them",
}


@contextmanager
def fault_files_in(folders: Sequence[Path]) -> Iterator[None]:
    """The traceback of a fault of reskd inside goes into the first of ``folders`` that exists then."""
    try:
        yield
    except Exception as error:
        setattr(error, _FOLDERS_ATTRIBUTE, [*folders])
        raise


def sentence_of(error: BaseException) -> str | None:
    """The message for a user, with a line for each fault; None if it is a fault of reskd."""
    if isinstance(error, OSError):
        return _of_os_error(error)
    if isinstance(error, _USER_FAULTS) and _is_raised_by_us(error):
        return str(error) or repr(error)
    if isinstance(error, ModuleNotFoundError) and error.name and error.name.split(".")[0] not in _OUR_PACKAGES:
        name = error.name.split(".")[0]
        if name == "nvidia":  # all of NVIDIA's packages lie in this one; ours is DALI
            return "expected DALI, found none; run make install, or pip install 'reskd[cuda12]' or 'reskd[cuda13]'."
        extra = extra_with(name)
        what = f"'reskd[{extra}]'" if extra else "it"
        return f"expected the package {name}, found none; run make install, or pip install {what}."
    return _of_library(error)


def report_of_our_fault(error: BaseException, command: Sequence[str]) -> str:
    """One line for a user; writes the traceback to a file and names it."""
    kind = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}".rstrip(": ")
    text = "".join([f"{shlex.join(command)}\n\n", *traceback.format_exception(error)])
    path = _write_traceback(text, getattr(error, _FOLDERS_ATTRIBUTE, []))
    where = f"the file {path}" if path else "the traceback that --traceback shows"
    return (
        f"this is a fault of reskd, not yours ({kind}). Please report it with {where}, the output of "
        f"`reskd doctor`, and this command: {shlex.join(command)}"
    )


def _write_traceback(text: str, folders: Sequence[Path]) -> Path | None:
    name = f"reskd-fault-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    of_run = [folder for folder in folders if folder.is_dir()]
    for folder in (*of_run, *_temporary_folder(), Path.cwd()):
        try:
            (folder / name).write_text(text, encoding="utf-8", errors="backslashreplace")
        except OSError:
            continue
        return folder / name
    return None


def _temporary_folder() -> list[Path]:
    try:
        return [Path(tempfile.gettempdir())]
    except OSError:  # none can be written
        return []


def _of_os_error(error: OSError) -> str:
    """The system's error with its file first; our own OSErrors are sentences already."""
    if error.errno is None or not error.strerror:
        return _of_download(error) or str(error) or repr(error)
    if type(error).__name__ == "URLError":
        return _of_download(error) or str(error)
    said = error.strerror[:1].lower() + error.strerror[1:]
    names = [
        os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes | os.PathLike)
    ]
    advice = _ADVICE.get(error.errno, "check the path and the disk")
    shown = " -> ".join(name if len(name) <= _LONGEST_PATH else f"{name[:_LONGEST_PATH]}..." for name in names)
    return f"{shown or 'the system'}: expected to use it, found: {said}; {advice}."


def _of_download(error: OSError) -> str | None:
    """urllib's errors: URLError has a reason, HTTPError also an address."""
    if type(error).__name__ not in ("URLError", "HTTPError"):
        return None
    address = getattr(error, "url", None)
    return (
        f"{address or 'a download'}: expected an answer from the network, found: {getattr(error, 'reason', error)}; "
        "download the weights on another machine and give their path (student.weights, teacher.model.weights), or set "
        "weights to none."
    )


def _of_library(error: BaseException) -> str | None:
    """Errors of Python and torch that users can mend."""
    said = " ".join(str(error).split())[:300]
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or _is_cpu_memory(error):
        return f"expected enough memory, found too little ({said or type(error).__name__}); {_MEMORY_ADVICE}."
    if type(error).__name__ in _NETWORK_ERRORS:
        address = f"{os.environ.get('MASTER_ADDR', '?')}:{os.environ.get('MASTER_PORT', '?')}"
        return (
            f"expected to reach the other processes of this run at {address}, found: {said}; if the port is in use, "
            "choose another one with torchrun --master-port, and see that all machines can reach it."
        )
    if isinstance(error, RuntimeError):
        return next((sentence.format(said=said) for mark, sentence in _OF_TORCH.items() if mark in said), None)
    return None


def _is_cpu_memory(error: BaseException) -> bool:
    return isinstance(error, RuntimeError) and any(
        mark in str(error)
        for mark in ("DefaultCPUAllocator", "not enough memory", "CUDA out of memory", "std::bad_alloc")
    )


def _is_raised_by_us(error: BaseException) -> bool:
    """Whether a ``raise`` of our own code made the error; see Note [Whose fault an exception is]."""
    if type(error.__cause__).__name__ == "_RemoteTraceback":  # from a worker process, as text
        return _is_raised_by_us_there(str(error.__cause__))
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return True
    code = trace.tb_frame.f_code
    package = str(trace.tb_frame.f_globals.get("__name__", "")).split(".")[0]
    return package in _OUR_PACKAGES and dis.opname[code.co_code[trace.tb_lasti]] == "RAISE_VARARGS"


def _is_raised_by_us_there(text: str) -> bool:
    """As ``_is_raised_by_us``, from the text of a worker's traceback."""
    _, _, last = text.rpartition('  File "')
    file, _, rest = last.partition('"')
    lines = [line.strip() for line in rest.splitlines()]
    return len(lines) > 1 and lines[1].startswith("raise ") and any(part in _OUR_PACKAGES for part in Path(file).parts)
