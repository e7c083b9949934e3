from __future__ import annotations

import math
import os
import re
import resource
from pathlib import Path
from typing import Any

import pytest

from reskd.yaml_reading import read_yaml, read_yaml_file, write_yaml


def test_what_configs_hold_is_read() -> None:
    text = """
name: a     # a comment
numbers: [8, -3, +2, 0, 0.5, .5, 5., 1e-3, 1.0e-3, 1E5, 1.5e+2]
words: [null, ~, , true, FALSE, 'no', "1:30", v_2019, 1.2.3, e5, '2026-01-05', a b, 1x3, {}]
group: {a: {b: []}, 'on': 1}
long: |
  two
  lines
"""
    numbers = [8, -3, 2, 0, 0.5, 0.5, 5.0, 1e-3, 1e-3, 1e5, 150.0]
    words = [None, None, True, False, "no", "1:30", "v_2019", "1.2.3", "e5", "2026-01-05", "a b", "1x3", {}]
    text = text.replace(", ,", ",")
    found = read_yaml(text, where="x")
    assert found.value == {
        "name": "a", "numbers": numbers, "words": words, "group": {"a": {"b": []}, "on": 1}, "long": "two\nlines\n"
    }  # fmt: skip
    assert [type(one) for one in found.value["numbers"]] == [type(one) for one in numbers]
    assert found.lines[("name",)] == 2 and found.lines[("group", "a", "b")] == 5
    assert found.lines[("numbers", "0")] == 3


VALUES: list[Any] = [
    "no",
    "1:30",
    "0123",
    "1_000",
    "2026-01-05",
    "1e5",
    ".inf",
    "<<",
    "",
    "~",
    "true",
    "a: b",
    "\u00e9",
]


@pytest.mark.parametrize("value", [*VALUES, 1e-5, 1e22, -0.0, 10**9, [[], {}], {"a": None}, False, "\udce9", "a\tb\n"])
def test_what_yaml_writes_is_read_as_it_was(value: Any) -> None:
    tree = {"a": value, "b": [value]}
    assert repr(read_yaml(write_yaml(tree), where="x").value) == repr(tree)


REFUSED = [
    ("a: 1\nb: 2\na: 3", "x, line 3: a: expected each key once, found it also in line 1"),
    ("a:\n  b: 1\n  'b': 1", "x, line 3: a.b: expected each key once, found it also in line 2"),
    ("\na: {b: .inf}", "x, line 2: a.b: expected a clear value, found .inf: not a finite number"),
    ("\na: -.INF", "found -.INF: not a finite"),
    ("\na: .NaN", "found .NaN: not a finite"),
    ("\na: 1e999", "a: expected a smaller number, found 1e999"),
    ("\na: " + "9" * 5000, "a: expected a smaller number, found 9{40};"),
    ("\na: 1:30", "a: expected a clear value, found 1:30: a time or a number to base 60"),
    ("\na: 190:20:30.15", "a number to base 60"),
    ("\na: 0123", "found 0123: a number with leading zeros, perhaps octal"),
    ("\na: -007", "leading zeros"),
    ("\na: 0o17", "not decimal"),
    ("\na: 0x1F", "not decimal"),
    ("\na: 0b11", "not decimal"),
    ("\na: 1_000", "found 1_000: a number with _; write it without"),
    ("\na: 20230115_1", "a number with _"),
    ("\na: 1_0.5", "a number with _"),
    ("\na: 2026-01-05", "found 2026-01-05: a date"),
    ("\na: 2026-01-05 10:00:00", "a date"),
    *(
        (f"\na: {word}", f"x, line 2: a: expected a clear value, found {word}: a yes or no")
        for word in ("no", "On", "YES")
    ),
    ("\na:\n\tb: 1", "x, line 3: expected YAML, found a tab; indent with spaces"),
    ("\nc: *x", "x, line 2: c: expected a value that is written before, found \\*x"),
    ("\na: &x {b: *x}", "x, line 2: a.b: expected a value that is written before, found \\*x"),
    ("\n<<: {a: 1}", "x, line 2: expected keys and values, found a merge key"),
    ("\na: !!python/object/apply:os.system ['true']", "a: expected values without tags, found tag:yaml.org"),
    ("\na: !!float 3", "a: expected values without tags"),
    ("\na: ! 3", "a: expected values without tags"),
    ("\n1: 2", "x, line 2: expected a name as key, found '1'"),
    ("\na: {true: 2}", "a: expected a name as key, found 'true'"),
    ("\n? [a]\n: 2", "expected a name as key, found 'a group or list'"),
    ("\na: 1\n---\nb: 1", "expected one document, found a second one"),
    ("\na: [1", "x, line 2: expected YAML, found expected ',' or ']'"),
    ('\na: "\\0"', "a: expected text, found a NUL character"),
    ("\na: \x01", "x: expected YAML, found .*special characters are not allowed"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_what_may_be_misread_is_refused_with_key_and_line(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_yaml(text, where="x")


@pytest.mark.parametrize(
    "text",
    [
        "a: " + "[" * 3000 + "]" * 3000,
        "a: " + "{b: " * 3000 + "1" + "}" * 3000,
        "".join(f"{' ' * level}a:\n" for level in range(300)),
        "- " * 3000 + "1",
        "b0: &b0 [x, x]\n" + "".join(f"b{n + 1}: &b{n + 1} [*b{n}, *b{n}]\n" for n in range(30)),
        "b0: &b0 [x, x]\n" + "".join(f"b{n + 1}: &b{n + 1} [*b{n}]\n" for n in range(3000)),
        "{" * 3000,
        "[" * 90_000,
        "a: '" + "x" * 100_000,
        "? " * 5000,
    ],
)
def test_bombs_end_at_once(text: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    with pytest.raises(ValueError, match="^x.*expected .*, found") as error:
        read_yaml(text, where="x")
    assert len(str(error.value)) < 300
    # Seconds of processor time, ten times what it takes.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_utime - before < 20


def test_an_alias_is_a_copy_of_its_value() -> None:
    found = read_yaml("a: &x {b: [1, no_]}\nc: *x\nd: [*x, *x]", where="x").value
    value = {"b": [1, "no_"]}
    assert found == {"a": value, "c": value, "d": [value, value]}
    found["d"][0]["b"].clear()
    assert found["c"] == value


def test_an_override_has_no_line() -> None:
    assert read_yaml("[1, 2]", where="'a=[1, 2]'").value == [1, 2]
    with pytest.raises(ValueError, match="^'a=no': expected a clear value, found no: a yes or no"):
        read_yaml("no", where="'a=no'")


def test_files_that_are_no_text_are_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    for content, message in (
        ("a: \u00e9".encode("latin-1"), "expected text in UTF-8, found another byte at 3"),
        ("a: 1".encode("utf-16"), "expected text in UTF-8, found another byte at 0"),
        (b"x" * 300_000, "expected a config of at most 200,000 bytes, found 300,000"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"^{re.escape(str(path))}.*{message}"):
            read_yaml_file(path)
    path.write_bytes(b"\xef\xbb\xbfa: 1")
    assert read_yaml_file(path).value == {"a": 1}
    os.mkfifo(tmp_path / "fifo.yaml")
    for name in ("fifo.yaml", "absent.yaml", ""):
        with pytest.raises(OSError, match="expected a config file at"):
            read_yaml_file(tmp_path / name)


def test_a_float_of_many_digits_is_read() -> None:
    assert read_yaml(f"{math.pi:.30f}", where="x").value == math.pi
