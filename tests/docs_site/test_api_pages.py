"""Every public name is in the API reference, once, and its first sentence in the overview."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import dali_pipes
import reskd
from docs_site.api_pages import api_pages, check_all_are_grouped, public_names

ROOT = Path(__file__).parents[2]


def test_every_public_name_is_on_one_page_and_in_the_overview() -> None:
    pages = api_pages(ROOT)
    public = {f"reskd.{name}" for name in reskd._PUBLIC} | {f"dali_pipes.{name}" for name in dali_pipes._PUBLIC}
    shown = [name for text in pages.values() for name in re.findall(r"^::: ([\w.]+)$", text, re.MULTILINE)]
    assert sorted(shown) == sorted(public)
    rows = re.findall(r"^\| \[`([\w.]+)`\]\(\w+\.md#([\w.]+)\) \| (.+) \|$", pages["index.md"], re.MULTILINE)
    assert {name for name, anchor, purpose in rows if name == anchor and purpose.endswith((".", ":"))} <= public
    assert {name for name, *_ in rows} == public


def test_a_name_in_no_group_is_named() -> None:
    names = public_names(ROOT)
    with pytest.raises(ValueError, match=r"\['reskd.new'\]; add a new name to a group"):
        check_all_are_grouped({**names, "reskd.new": "reskd.api.new"})
    names.pop("reskd.Student")
    with pytest.raises(ValueError, match="reskd.Student"):
        check_all_are_grouped(names)
