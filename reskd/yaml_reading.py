"""The only reader and writer of YAML: configs, saved configs and ``key.sub=value`` overrides.

Note [Which YAML is read]
YAML 1.1 turns some words into other values: ``no`` into false, ``1:30`` into 90, ``0123`` into 83, ``1_000`` into 1000,
2026-01-05 into a date; the last of two equal keys wins, and so do own keys over those of a merge key (<<). Each of
these is refused with its line, as a wrong setting that is read without a word costs a run. Left are groups, lists,
text, decimal numbers, true, false and null, and aliases of these, as ``yaml.safe_dump`` writes them. Aliases of aliases
let 300 bytes stand for gigabytes, so their values are counted.
"""

from __future__ import annotations

import copy
import functools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import yaml

_MOST_BYTES = 200_000  # of a file; PyYAML takes a second for this, and our largest config has 3,000
_DEEPEST = 20
_LONGEST_NUMBER = 40  # characters
_MOST_ALIASED = 10_000  # values that stand for aliases

_NULLS = ("", "~", "null", "Null", "NULL")
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
# Plain words that YAML 1.1 or another reader would take for something else -> what they may stand for.
_DOUBTFUL: Sequence[tuple[re.Pattern[str], str]] = (
    (re.compile(r"yes|no|on|off", re.IGNORECASE), "a yes or no, or a word; write true or false"),
    (re.compile(r"[-+]?\.(inf|nan)", re.IGNORECASE), "not a finite number; write a finite one"),
    (re.compile(r"[-+]?0[0-9_]+(\.[0-9_]*)?"), "a number with leading zeros, perhaps octal; write it without them"),
    (re.compile(r"[-+]?0[xXoObB][0-9a-fA-F_]+"), "a number that is not decimal; write a decimal one"),
    (re.compile(r"[-+]?[0-9][0-9_]*(:[0-9_]+)+(\.[0-9_]*)?"), "a time or a number to base 60; write a decimal one"),
    (re.compile(r"[-+]?(?=[0-9_.]*_)[0-9][0-9_]*(\.[0-9_]*)?([eE][-+]?[0-9_]+)?"), "a number with _; write it without"),
    (re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt ].*)?"), "a date; there are no settings of this kind"),
)  # fmt: skip

Keys = tuple[str, ...]


class YamlTree(NamedTuple):
    """Plain values: dicts with str keys, lists, str, int, float, bool and None.

    Args:
        lines: keys of each setting -> its line, from 1; an entry of a list has its number as key.
    """

    value: Any
    lines: dict[Keys, int]


def read_yaml_file(path: Path) -> YamlTree:
    """Read a YAML file; see Note [Which YAML is read].

    Raises:
        ValueError: the file is not such YAML; names file, line, key and what was found.
        OSError: the file cannot be read.
    """
    if not path.is_file():  # a pipe would block
        raise FileNotFoundError(f"expected a config file at {path}, found {'no file' if path.exists() else 'none'}.")
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError(f"{path}: expected a config of at most {_MOST_BYTES:,} bytes, found {path.stat().st_size:,}.")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: expected text in UTF-8, found another byte at {error.start}; save it as UTF-8."
        ) from None
    return copy.deepcopy(_read_once(text, str(path)))


@functools.lru_cache(maxsize=16)
def _read_once(text: str, where: str) -> YamlTree:
    """``read_yaml`` of a file's text, which is kept: a study resolves the same config for each of its runs."""
    return read_yaml(text, where=where)


def read_yaml(text: str, *, where: str) -> YamlTree:
    """As ``read_yaml_file``, from text. A text of one line, such as an override's value, has no line in errors."""
    try:
        return _Reader(text, where).read()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or " ".join(str(error).split())
        kind = "YAML as the value" if where.startswith(("'", '"')) else "YAML"  # of an override
        raise ValueError(f"{_place(where, text, mark)}: expected {kind}, found {_plain(problem)}.") from None


def write_yaml(tree: Mapping[str, Any], *, width: int = 80) -> str:
    """Plain values as text that ``read_yaml`` reads back as they are."""
    text: str = yaml.dump(dict(tree), Dumper=_Dumper, sort_keys=False, width=width)
    return text


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        """Write a value that is there twice two times."""
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        """Put text in quotes that could be read as a number."""
        return self.represent_scalar("tag:yaml.org,2002:str", data, style="'" if _FLOAT.fullmatch(data) else None)


_Dumper.add_representer(str, _Dumper.represent_str)


class _Reader:
    """Builds values from PyYAML's events, so that nothing is made of what is refused."""

    def __init__(self, text: str, where: str) -> None:
        self._text, self._where = text, where
        self._events: Iterator[Any] = iter(yaml.parse(text, Loader=yaml.SafeLoader))
        self._lines: dict[Keys, int] = {}
        self._anchors: dict[str, Any] = {}
        self._num_aliased = 0

    def read(self) -> YamlTree:
        value, num_documents = None, 0
        for event in self._events:
            num_documents += isinstance(event, yaml.DocumentStartEvent)
            if num_documents > 1:
                self._refuse(event, (), "one document, found a second one (---)")
            if isinstance(event, yaml.NodeEvent):
                value = self._value(event, ())
        return YamlTree(value, self._lines)

    def _value(self, event: Any, keys: Keys) -> Any:
        if isinstance(event, yaml.AliasEvent):
            return self._aliased(event, keys)
        self._check(event, keys)
        value: Any
        if isinstance(event, yaml.MappingStartEvent):
            value = self._group(keys)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self._list(keys)
        else:
            value = self._scalar(event, keys)
        if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
            self._anchors[event.anchor] = value
        return value

    def _aliased(self, event: Any, keys: Keys) -> Any:
        if event.anchor not in self._anchors:
            self._refuse(event, keys, f"a value that is written before, found *{event.anchor}; write it out")
        value = self._anchors[event.anchor]
        self._num_aliased += _num_values(value, _MOST_ALIASED - self._num_aliased)
        if self._num_aliased > _MOST_ALIASED:
            self._refuse(event, keys, f"at most {_MOST_ALIASED:,} values from aliases, found more; write them out")
        return copy.deepcopy(value)

    def _list(self, keys: Keys) -> list[Any]:
        found: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            of_entry = (*keys, str(len(found)))
            self._lines[of_entry] = event.start_mark.line + 1
            found.append(self._value(event, of_entry))
        return found

    def _group(self, keys: Keys) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            self._check(event, keys)
            name = self._scalar(event, keys) if isinstance(event, yaml.ScalarEvent) else event
            if name == "<<" and event.implicit[0]:
                self._refuse(event, keys, "keys and values, found a merge key (<<); use base: FILE, or write them out")
            if not isinstance(name, str):
                shown = event.value if isinstance(event, yaml.ScalarEvent) else "a group or list"
                self._refuse(event, keys, f"a name as key, found {shown!r}; write it in quotes if it is a name")
            line = event.start_mark.line + 1
            if name in found:
                first = self._lines[(*keys, name)]
                self._refuse(event, (*keys, name), f"each key once, found it also in line {first}; remove one of them")
            self._lines[(*keys, name)] = line
            found[name] = self._value(next(self._events), (*keys, name))
        return found

    def _check(self, event: Any, keys: Keys) -> None:
        if getattr(event, "tag", None) is not None:
            self._refuse(event, keys, f"values without tags, found {event.tag}; remove it")
        if len(keys) >= _DEEPEST:
            self._refuse(event, (*keys[:3], "..."), f"at most {_DEEPEST} levels of groups and lists, found more")

    def _scalar(self, event: Any, keys: Keys) -> Any:
        text: str = event.value
        if "\0" in text:
            self._refuse(event, keys, "text, found a NUL character in it")
        if not event.implicit[0]:  # in quotes
            return text
        if text in _NULLS:
            return None
        if text in _BOOLEANS:
            return _BOOLEANS[text]
        for pattern, meaning in _DOUBTFUL:
            if pattern.fullmatch(text):
                self._refuse(event, keys, f"a clear value, found {text}: {meaning}, or put it in quotes if it is text")
        if not _FLOAT.fullmatch(text):
            return text
        value = (int if _INTEGER.fullmatch(text) else float)(text) if len(text) <= _LONGEST_NUMBER else math.inf
        if abs(value) > 1e300:
            self._refuse(
                event, keys, f"a smaller number, found {text[:_LONGEST_NUMBER]}; put it in quotes if it is text"
            )
        return value

    def _refuse(self, event: Any, keys: Keys, sentence: str) -> NoReturn:
        key = ".".join(keys)
        raise ValueError(
            f"{_place(self._where, self._text, event.start_mark)}: {f'{key}: ' if key else ''}expected {sentence}."
        )


def _num_values(value: Any, most: int) -> int:
    """Number of values in ``value``, itself included; counts no further than one above ``most``."""
    waiting, count = [value], 0
    while waiting and count <= most:
        one = waiting.pop()
        count += 1
        waiting += one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
    return count


def _place(where: str, text: str, mark: Any) -> str:
    return where if mark is None or "\n" not in text else f"{where}, line {mark.line + 1}"


def _plain(problem: str) -> str:
    if "'\\t'" in problem:
        return "a tab; indent with spaces"
    return problem.removeprefix("found ").rstrip(".")
