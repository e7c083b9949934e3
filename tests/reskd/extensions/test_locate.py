"""Functions that a config names: found, called, and refused in a sentence."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest

from reskd.extensions import locate
from reskd.extensions.locate import called_name, check_location, is_installed_name, make, reason_of

FILE = """
import beside_it

def build(num_classes, width=2):
    return num_classes, width, beside_it.VALUE

def fails(num_classes):
    raise RuntimeError("no room\\nfor this")

number = 3
class Inner:
    def made(num_classes):
        return "inner"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "my nets" / "net.py"
    path.parent.mkdir()
    path.write_text(FILE, encoding="utf-8")
    (path.parent / "beside_it.py").write_text("VALUE = 7\n", encoding="utf-8")
    return path


def call(location: str, **arguments: Any) -> Any:
    return make(location, "network", key="build", arguments=arguments, num_classes=5)


def test_a_function_of_a_file_is_called_with_what_the_config_says(file: Path) -> None:
    assert call(f"{file}:build", width=4) == (5, 4, 7)
    assert call(f"{file}:Inner.made") == "inner"


def test_a_file_is_executed_once(file: Path) -> None:
    call(f"{file}:build")
    file.write_text("raise ValueError", encoding="utf-8")
    assert call(f"{file}:build") == (5, 2, 7)


def test_a_file_hides_no_installed_module(file: Path) -> None:
    call(f"{file}:build")
    assert sys.path.index(str(file.parent)) == len(sys.path) - 1


def test_a_function_of_a_module_is_called() -> None:
    found = make("collections:OrderedDict", "network", key="build", arguments={"a": 1}, num_classes=2)
    assert found == {"a": 1, "num_classes": 2}


def test_an_installed_name_is_an_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    points = EntryPoints([EntryPoint("mine", "collections:OrderedDict", "reskd.networks")])
    monkeypatch.setattr(locate, "entry_points", lambda group: points.select(group=group))
    assert call("mine") == {"num_classes": 5}
    with pytest.raises(ValueError, match=r"^build: .* found 'mind'; installed are mine; did you mean mine\?$"):
        call("mind")


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("{file}:biuld", r"expected a function biuld in .*net.py, found none; did you mean build\?"),
        ("{file}:number", "expected a function or class, found int at net.py:number"),
        ("{file}:fails", r"net.py:fails failed with RuntimeError: no room for this \(net.py, line 8\)"),
        ("{file}x.py:build", "expected a Python file at .*netx?.py.*, found none"),
        ("nowhere_at_all:build", "expected a module nowhere_at_all that Python can import, found no nowhere_at_all"),
        ("nobody", "no network is installed"),
    ],
)
def test_what_cannot_be_called_is_one_sentence(file: Path, location: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        call(location.format(file=file))
    assert "\n" not in str(caught.value)


def test_a_wrong_argument_names_what_the_function_takes(file: Path) -> None:
    with pytest.raises(ValueError, match=r"called with num_classes, widht, found net.py:build\(num_classes, width=2\)"):
        call(f"{file}:build", widht=3)


@pytest.mark.parametrize(
    ("text", "message"),
    [("def build(:\n", r"SyntaxError: .*line 1"), ("import nothing_there_\n", "No module named 'nothing_there_'")],
)
def test_a_file_that_cannot_be_executed_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.py"
    path.write_text(text, encoding="utf-8")
    for _ in range(2):  # nothing of the first attempt stays
        with pytest.raises(ValueError, match=f"bad.py cannot be executed: .*{message}"):
            call(f"{path}:build")


@pytest.mark.parametrize("location", ["a.py:f", "dir x/a.py:f.g", "pack.age:f", "name", "my-name", "C.py/b.py:f"])
def test_the_three_forms(location: str) -> None:
    assert check_location(location) == location


@pytest.mark.parametrize("location", ["", ":", "a.py", "a.py:", "a b:f", "a.py:1f", "x:f()", "../up:f"])
def test_other_forms_are_refused(location: str) -> None:
    with pytest.raises(ValueError, match="expected path/to/file.py:function"):
        check_location(location)


def test_a_called_name_has_no_folders() -> None:
    assert called_name("/a/b/net.py:tiny") == "net.py:tiny"
    assert called_name("pack.age:f") == "pack.age:f"
    assert is_installed_name("mine") and not is_installed_name("a:b")


def test_a_reason_is_one_short_line() -> None:
    assert len(reason_of(ValueError("x\n" * 10_000))) < 400
