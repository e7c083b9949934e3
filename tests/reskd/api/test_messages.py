"""Who sees the messages of the API: a program without logging on stderr, any other as it set it up."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROGRAM = """
import logging
{before}
from reskd.api.messages import messages_shown
log = logging.getLogger("reskd.some.module")
with messages_shown():
    log.info("one")
    logging.getLogger("dali_pipes.other").warning("two")
    logging.getLogger("other").info("not ours")
log.info("after")
log.warning("warned")
assert logging.getLogger("reskd").level == {level} and not logging.getLogger("reskd").handlers
"""


@pytest.mark.parametrize(
    ("before", "rank", "shown"),
    [
        ("", "0", ["hh:mm:ss one", "hh:mm:ss two", "warned"]),
        ("", "1", ["hh:mm:ss two", "warned"]),
        ("logging.basicConfig()", "0", ["WARNING:dali_pipes.other:two", "WARNING:reskd.some.module:warned"]),
        (
            "logging.basicConfig(level=logging.INFO, format='%(message)s')",
            "0",
            ["one", "two", "not ours", "after", "warned"],
        ),
        ("logging.getLogger('reskd').setLevel('ERROR')", "0", ["hh:mm:ss two"]),
    ],
)
def test_messages_appear_where_nobody_set_up_logging(before: str, rank: str, shown: list[str]) -> None:
    level = logging.ERROR if "ERROR" in before else logging.NOTSET
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(before=before, level=level)],
        env={"PYTHONPATH": str(ROOT), "RANK": rank},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert [line if line[2:3] != ":" else f"hh:mm:ss{line[8:]}" for line in lines] == shown
