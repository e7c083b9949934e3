"""The page of settings has every setting, with its type, default and meaning."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from dali_pipes.strict_config import StrictConfig
from docs_site.settings_pages import settings_pages
from reskd.experiment.config import load_config
from reskd.experiment.config_files import shipped_files
from reskd.training.run_changes import flatten

PAGES = settings_pages()
ROW = re.compile(r"^\| `([\w.]+)` \| (.+?) \| (.*?) \| (.*?) \|$", re.MULTILINE)
ROWS = {name: ROW.findall(text) for name, text in PAGES.items()}


def _classes(base: type[StrictConfig] = StrictConfig) -> Iterator[type[StrictConfig]]:
    for one in base.__subclasses__():
        if one.__module__.startswith(("reskd.", "dali_pipes.")):
            yield one
            yield from _classes(one)


def test_every_field_of_every_settings_class_is_a_row_with_a_meaning() -> None:
    shown = {(key.rpartition(".")[2], meaning != "") for rows in ROWS.values() for key, _, _, meaning in rows}
    fields = {name for one in _classes() if not one.__name__.startswith("_") for name in one.model_fields}
    assert fields and {name for name in fields if (name, True) not in shown} <= {"kind"}
    without = {key for rows in ROWS.values() for key, _, _, meaning in rows if not meaning}
    assert {key for key in without if not key.endswith(".kind")} == set()


@pytest.mark.parametrize("name", ["demo/student.yaml", "ucf10/teacher_r18-96.yaml", "my/frames.yaml"])
def test_every_setting_of_a_resolved_config_is_a_row(name: str) -> None:
    config = load_config(shipped_files() / "configs" / name)
    keys = {key for key, _ in flatten(config.resolved())}
    shown = {key for key, *_ in ROWS["index.md"]}
    again = {key.replace("teacher.model.", "student.", 1) for key in keys}  # described once
    assert again and {key for key in again if key not in shown} == set()


def test_types_defaults_and_bounds_are_in_words_of_yaml() -> None:
    rows = {key: (kind, default) for key, kind, default, _ in ROWS["index.md"]}
    assert rows["seed"] == ("whole number >= 0, < 2^63", "`1`")
    assert rows["device"] == ("`auto` or `cpu` or `cuda`", "`auto`")
    assert rows["data.views.student.size"][1] == "required"
    assert rows["teacher"] == ("group: [teacher](#teacher)", "`null`")


def test_anchors_are_unique_and_links_reach_them() -> None:
    for text in PAGES.values():
        anchors = re.findall(r"\{ #([\w-]+) \}$", text, re.MULTILINE)
        assert len(anchors) == len(set(anchors))
        assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= set(anchors)
