from __future__ import annotations

import os
import time

import pytest

from dali_pipes.jobs.map_files import map_isolated


def _work(item: str) -> str:
    """ "die" ends the process, "raise" raises, anything else comes back in capitals."""
    if item == "die":
        os._exit(11)
    if item == "raise":
        raise ValueError("as asked")
    return item.upper()


def test_an_item_that_kills_its_process_gives_none_and_the_others_their_result() -> None:
    items = ["a", "die", "b", "c"]
    assert dict(map_isolated(_work, items, num_workers=2)) == {"a": "A", "b": "B", "c": "C", "die": None}


def test_a_pool_that_breaks_while_the_caller_is_busy_is_replaced() -> None:
    found = {}
    for item, result in map_isolated(_work, ["a", "die", "b", "c"], num_workers=2):
        found[item] = result
        time.sleep(0.5)  # the process of "die" ends before the next item is handed out
    assert found == {"a": "A", "b": "B", "c": "C", "die": None}


def test_what_an_item_raises_is_raised() -> None:
    with pytest.raises(ValueError, match="as asked"):
        list(map_isolated(_work, ["raise"], num_workers=1))


def test_nothing_to_do_starts_nothing() -> None:
    assert list(map_isolated(_work, [], num_workers=4)) == []
