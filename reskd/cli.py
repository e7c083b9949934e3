"""Shared by all command-line tools: errors as plain sentences, and a log that only rank 0 writes.

faults.py decides what is a user's fault and what is ours.

Nothing heavy is imported at the top, so `--help` and usage errors are quick.
"""

from __future__ import annotations

import argparse
import logging
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from dali_pipes.choices import EngineName
from dali_pipes.file_names import print_any_name
from dali_pipes.jobs.cores import usable_cores
from reskd.faults import report_of_our_fault, sentence_of
from reskd.stop_signals import Stopped, tell_torchrun

if TYPE_CHECKING:
    from dali_pipes.jobs.map_files import Engine

_LONGEST_LINE = 4000  # characters of an error
_INTERRUPTED = "interrupted; run the same command again to resume from the last checkpoint."
# The shell's exit code of a program that a signal ended; `| head` gives this one.
_CLOSED_OUTPUT = 128 + signal.SIGPIPE


def run_tool(
    main: Callable[[Sequence[str]], int | None],
    arguments: Sequence[str] | None = None,
    program: Sequence[str] | None = None,
) -> int:
    """Run ``main`` and return the exit code.

    Args:
        arguments: of ``main``; default: the command line's.
        program: the words before them, as a user types them; default: python and the file that was started.

    It is what ``main`` returns (None: 0), 1 for an error reported in a sentence, 128 and its number for a signal (130
    for Ctrl-C, 143 for SIGTERM), and 141 if nobody reads the output any more. ``--traceback`` anywhere on the command
    line shows the traceback of an error.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    wants_traceback = "--traceback" in given
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        print_any_name(stream)
    set_up_log()
    try:
        code = main([argument for argument in given if argument != "--traceback"])
        sys.stdout.flush()
    except (Exception, KeyboardInterrupt, Stopped) as error:
        stop = _request_to_stop(error)
        if stop is not None:
            if wants_traceback and stop is not error:
                raise
            return _end_as_asked(stop, is_whole_program=arguments is None)
        if isinstance(error, BrokenPipeError) and _discard_closed_output():
            return _CLOSED_OUTPUT
        if wants_traceback:
            raise
        _print_fault(error, [*(program or ("python", *sys.argv[:1])), *given])
        return 1
    if arguments is None:
        _end_at_ctrl_c()
    return code or 0


def _print_fault(error: BaseException, command: Sequence[str]) -> None:
    text = sentence_of(error) or report_of_our_fault(error, command)
    shown = [line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]}..." for line in text.splitlines()]
    sys.stderr.write("".join(f"error: {line}\n" for line in shown))
    if not isinstance(error, ConnectionError):  # of a rank that lost another one, whose error is the cause
        tell_torchrun("\n".join(shown))


def _request_to_stop(error: BaseException) -> KeyboardInterrupt | Stopped | None:
    """The signal, if ``error`` is one or was raised while one was handled: torch's writers fail when interrupted."""
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        if isinstance(found, KeyboardInterrupt | Stopped):
            return found
        seen.add(id(found))
        found = found.__cause__ or found.__context__
    return None


def _end_as_asked(stop: KeyboardInterrupt | Stopped, *, is_whole_program: bool) -> int:
    """Say that a signal ended the program; returns its exit code."""
    if is_whole_program:
        _end_at_ctrl_c()
    text, signum = (str(stop), stop.signum) if isinstance(stop, Stopped) else (_INTERRUPTED, signal.SIGINT)
    sys.stderr.write(f"{text}\n")
    tell_torchrun(text)
    return 128 + signum


def _end_at_ctrl_c() -> None:
    """From here on Ctrl-C ends the process at once, as Python would print a traceback of what it tidies up.

    A rank gets two: from the terminal, and from torchrun, which got the terminal's too.
    """
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _open_closed_streams() -> None:
    """Let closed standard streams (`>&-`) write to nowhere: else the next file that opens would get their output."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # it gets the lowest free number, which is this one
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(descriptor, "w", encoding="utf-8", closefd=False))


def _discard_closed_output() -> bool:
    """Whether nobody reads standard output any more; then it goes nowhere, so that Python's flush at exit is silent."""
    poll = select.poll()
    poll.register(1, 0)
    if not any(events & select.POLLERR for _, events in poll.poll(0)):
        return False
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    return True


def command_parser(name: str, text: str | None) -> argparse.ArgumentParser:
    """The parser of ``reskd NAME``; ``text`` is shown by --help as it is written."""
    formatter = argparse.RawDescriptionHelpFormatter
    return argparse.ArgumentParser(prog=f"reskd {name}", description=text, formatter_class=formatter)


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """The settings after the config's file. Without a default, argparse would name them among what is required."""
    parser.add_argument(
        "overrides", nargs="*", default=[], metavar="key.sub=value", help="settings that replace the file's"
    )


def add_trust_code(parser: argparse.ArgumentParser) -> None:
    """--trust-code, of commands that read a checkpoint: reskd/extensions/trust.py."""
    parser.add_argument(
        "--trust-code",
        action="store_true",
        help="execute the Python code that the checkpoint names for its network (family python)",
    )


def number_from(low: float, high: float) -> Callable[[str], float]:
    """For argparse: a type that takes numbers from ``low`` to ``high``."""

    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"expected a number from {low:g} to {high:g}, found {text!r}")
        return value

    return number


def add_temperature(parser: argparse.ArgumentParser) -> None:
    """--temperature of the commands that give a student's scores."""
    parser.add_argument(
        "--temperature",
        type=number_from(0.01, 100),
        default=1.0,
        metavar="T",
        help="divide the logits by T, so that scores say how often they are right; reskd evaluate --split val prints "
        "the best one (default 1)",
    )


def positive(text: str) -> int:
    """An argparse type: a whole number of 1 or more."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of 1 or more, found {text!r}")
    return int(text)


def part_of_parts(text: str) -> tuple[int, int]:
    """An argparse type: ``I/N``, part I of N."""
    part, _, parts = text.partition("/")
    if not (part.isdigit() and parts.isdigit() and 1 <= int(part) <= int(parts)):
        raise argparse.ArgumentTypeError(f"expected I/N with I from 1 to N, as in 2/8, found {text}")
    return int(part), int(parts)


def require_checkpoint(path: Path) -> None:
    """Raises FileNotFoundError where there is none, before torch is imported to read it: that takes seconds."""
    if not path.exists():
        raise FileNotFoundError(f"expected a checkpoint at {path}, found no such file.")


def set_up_log() -> None:
    """Log rank 0's messages to stderr, as "12:02:16 text"; the other ranks only warn."""
    logging.basicConfig(level=level_of_rank(), handlers=[stderr_handler()], force=True)


def level_of_rank() -> int:
    """Of this process's messages: all of rank 0, warnings of the others."""
    return logging.INFO if os.environ.get("RANK", "0") == "0" else logging.WARNING


def stderr_handler() -> logging.Handler:
    """Writes messages to stderr as "12:02:16 text"."""
    handler = _ToStandardError()
    handler.setFormatter(_Indented("%(asctime)s %(message)s", "%H:%M:%S"))
    return handler


class _ToStandardError(logging.Handler):
    """Prints to what ``sys.stderr`` is now: while bars are shown, a stream of rich's that prints above them."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            print(self.format(record), file=sys.stderr, flush=True)
        except Exception:
            self.handleError(record)


class _Indented(logging.Formatter):
    """Further lines of a message begin below its first letter."""

    def format(self, record: logging.LogRecord) -> str:
        indent = " " * len(f"{self.formatTime(record, self.datefmt)} ")
        return super().format(record).replace("\n", f"\n{indent}")


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """``--shard`` and those of ``add_engine_choice``."""
    parser.add_argument(
        "--shard",
        type=part_of_parts,
        default=(1, 1),
        metavar="I/N",
        help="do part I of N of the job, as in 2/8; default: all",
    )
    add_engine_choice(parser, "processes")


def add_engine_choice(parser: argparse.ArgumentParser, counted: str) -> None:
    """``--workers``, ``--engine`` and ``--ray-address``; ``counted`` says what the workers are."""
    parser.add_argument("--workers", type=positive, default=usable_cores(), help=f"{counted} (default: one per core)")
    parser.add_argument(
        "--engine",
        choices=get_args(EngineName),
        default="local",
        help="local: processes of this machine; ray: machines of a Ray cluster (default %(default)s)",
    )
    parser.add_argument(
        "--ray-address",
        metavar="ADDRESS",
        help="address of a running Ray cluster, or auto to find one; default: start Ray on this machine alone",
    )


def engine_of(chosen: argparse.Namespace) -> Engine:
    """The engine named by the arguments; raises ValueError if it is not installed."""
    from dali_pipes.jobs.map_files import make_engine

    return make_engine(chosen.engine, num_workers=chosen.workers, ray_address=chosen.ray_address)
