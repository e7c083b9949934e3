"""What scans and trainings have to say, for programs that did not set up logging.

A program that did set it up gets everything through the loggers "reskd" and "dali_pipes" and nothing else happens here.
Without that, Python would show warnings alone, and a first scan of an hour would look like a program that hangs.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from reskd.cli import level_of_rank, stderr_handler

_LOGGERS = ("reskd", "dali_pipes")


@contextmanager
def messages_shown() -> Iterator[None]:
    """In this block, messages appear on stderr as those of the commands do, of rank 0 all, of other ranks warnings.

    A logger with a handler or a level, its own or the root's handler, is left alone: it was set up by the program.
    """
    handler = stderr_handler()
    handler.setLevel(level_of_rank())
    found = [logging.getLogger(name) for name in _LOGGERS]
    ours = [logger for logger in found if not logger.hasHandlers() and logger.level == logging.NOTSET]
    for logger in ours:
        logger.addHandler(handler)
        logger.setLevel(handler.level)
    try:
        yield
    finally:
        for logger in ours:
            logger.removeHandler(handler)
            logger.setLevel(logging.NOTSET)
