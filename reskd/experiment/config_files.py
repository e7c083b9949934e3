"""Reads YAML files and ``key.sub=value`` overrides into plain values. config.py defines the keys.

    base: _common.yaml        a file whose settings come first; the path is relative to this file
    name: demo_student        the file's own settings, merged over those of the base

Note [How settings are merged]
A file is merged over its base, and a stage over the common settings of its file, by the same rules:
- A group is merged key by key.
- null removes the setting, so that its default holds.
- A group of another kind or family replaces the group below it, since it has other settings.
- A list replaces the list below it. So a file's own ``stages`` replace those of its base.
"""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from reskd.yaml_reading import Keys, read_yaml, read_yaml_file


class ConfigFile(NamedTuple):
    path: Path
    settings: dict[str, Any]  # its own, without those of its base
    lines: Mapping[Keys, int] = {}  # keys -> line in the file


# The folders of files that come with reskd: in a wheel inside the package, in a checkout beside it.
_SHIPPED_FOLDERS = frozenset(("configs", "studies"))
_PACKAGE = Path(__file__).resolve().parents[1]
_MOST_BASES = 20
_LONGEST_VALUE = 200  # characters


def shipped_files() -> Path:
    """The folder with the ``configs`` and ``studies`` that come with reskd."""
    in_wheel = _PACKAGE / "shipped"
    return in_wheel if in_wheel.is_dir() else _PACKAGE.parent


def find_config(path: Path | str) -> Path:
    """``path``; where there is none, as ``configs/demo/student.yaml`` in any folder, the one that comes with reskd."""
    path = Path(path)
    if path.exists() or not set(path.parts[:1]) & _SHIPPED_FOLDERS:
        return path
    shipped = shipped_files() / path
    return shipped if shipped.is_file() else path


def read_config_files(source: Path | str | Mapping[str, Any]) -> list[ConfigFile]:
    """The config file at ``source``, or the one that comes with reskd, then its base, then the base of that, and so on.

    Settings given as plain values are a file named "settings" in the working directory.

    Raises:
        FileNotFoundError, ValueError: a file is missing; it is not YAML or not a group of settings; its base is not a
            path; the bases form a circle.
    """
    files: list[ConfigFile] = []
    following: Path | None = Path("settings") if isinstance(source, Mapping) else find_config(source)
    while following is not None:
        if isinstance(source, Mapping) and not files:
            group = copy.deepcopy(dict(source)), dict[Keys, int]()
        else:
            _check_is_there(following, [file.path for file in files])
            group = _read_group(following)
        settings, lines = group
        base = settings.pop("base", None)
        if not isinstance(base, str | None):
            raise ValueError(f"{following}: base: expected the path of one config file, found {shown(base)}.")
        if len(files) == _MOST_BASES:
            raise ValueError(f"{files[0].path}: expected a chain of at most {_MOST_BASES} bases, found more.")
        files.append(ConfigFile(following, settings, lines))
        following = None if base is None else find_config(following.parent / base)
    return files


def merge_files(files: Sequence[ConfigFile]) -> dict[str, Any]:
    """Merge the settings of a file and its bases, in the order of ``read_config_files``."""
    *own, last = files
    merged = copy.deepcopy(last.settings)
    for file in reversed(own):
        merged = merge(merged, file.settings)
    return merged


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Merge ``above`` over ``below`` without changing either; see Note [How settings are merged]."""
    merged = copy.deepcopy(dict(below))
    for key, value in above.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(merged.get(key), Mapping) and not _is_other(merged[key], value):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def name_source(keys: Sequence[str], files: Sequence[ConfigFile], *, where: str) -> str:
    """The file that sets ``keys`` and its line, for an error: ``where``, the name of the first file, or a base.

    Args:
        files: the winning one first.
    """
    file = next((file for file in files if has_key(file.settings, keys)), None)
    if file is None or not keys:
        return where
    line = f", line {file.lines[tuple(keys)]}" if tuple(keys) in file.lines else ""
    if file.path != files[0].path:
        return f"{file.path}{line}, a base of {where}"
    return f"{file.path}{line}{where.removeprefix(str(file.path))}" if where.startswith(str(file.path)) else where


def has_key(settings: Any, keys: Iterable[str]) -> bool:
    """Whether ``settings`` contain the key ``a.b``, given as ["a", "b"]; its value may be null.

    The keys of a list's entries are their numbers.
    """
    for key in keys:
        if isinstance(settings, list):
            settings = {str(number): entry for number, entry in enumerate(settings)}
        if not isinstance(settings, Mapping) or key not in settings:
            return False
        settings = settings[key]
    return True


def read_settings(
    settings: Sequence[str], *, where: str, over: Mapping[str, Any] | None = None, dotted: Collection[str] = ()
) -> dict[str, Any]:
    """Read ``key.sub=value`` arguments into plain values, on top of ``over``.

    Args:
        where: names the argument in errors.
        dotted: as for ``apply_override``.

    Raises:
        ValueError: as apply_override.
    """
    tree = copy.deepcopy(dict(over or {}))
    try:
        for setting in settings:
            apply_override(tree, setting, dotted)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    return tree


def apply_override(tree: dict[str, Any], override: str, dotted: Collection[str] = ()) -> None:
    """Set one key of ``tree`` from ``key.sub=value``.

    Args:
        dotted: groups such as "settings" whose keys are dotted names: what follows is one key, and no group of groups.

    Raises:
        ValueError: ``override`` has another form.
    """
    keys, value = split_override(override)
    for group in dotted:
        parts = group.split(".")
        if keys[: len(parts)] == parts and len(keys) > len(parts):
            keys = [*parts, ".".join(keys[len(parts) :])]
    *parents, last = keys
    node = tree
    for key in parents:
        if node.get(key) is None:
            node[key] = {}
        node = node[key]
        if not isinstance(node, dict):
            raise ValueError(f"{shown(override)}: {key} is a value, not a group of settings.")
    node[last] = read_yaml(value, where=shown(override)).value if value else None


def split_override(override: str) -> tuple[list[str], str]:
    """``a.b=1`` -> (["a", "b"], "1")."""
    match = re.fullmatch(r"([\w.-]+)=(.*)", override, flags=re.DOTALL)
    if not match:
        raise ValueError(f"expected a setting of the form key.sub=value, found {shown(override)}.")
    return match[1].split("."), match[2]


def shown(value: Any) -> str:
    """``repr(value)``, cut where it is too long for a sentence."""
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}... ({len(text):,} characters)"


def _is_other(below: Mapping[str, Any], above: Mapping[str, Any]) -> bool:
    """Whether the two groups differ in kind or family, and so in their settings."""
    return any(tag in below and tag in above and below[tag] != above[tag] for tag in ("kind", "family"))


def _check_is_there(path: Path, named_by: Sequence[Path]) -> None:
    """``named_by``: the chain of files whose ``base`` led to this one."""
    if not path.is_file():
        where = f"{named_by[-1]}: base: " if named_by else ""
        raise FileNotFoundError(f"{where}expected a config file at {path}, found none.{_nearest_file(path)}")
    if any(other.exists() and path.samefile(other) for other in named_by):
        circle = " -> ".join(map(str, [*named_by, path]))
        raise ValueError(f"expected a chain of bases that ends, found a circle: {circle}. Remove one of their bases.")


def _read_group(path: Path) -> tuple[dict[str, Any], dict[Keys, int]]:
    tree = read_yaml_file(path)
    if not isinstance(tree.value, dict):
        raise ValueError(f"{path}: expected keys and values, found {type(tree.value).__name__}.")
    return tree.value, tree.lines


def _nearest_file(path: Path) -> str:
    """A hint: the config file with the most similar name in the same folder, in configs, or in a folder of either.

    Those that come with reskd are named as they are given: configs/demo/student.yaml.

    A file in a folder is also compared as FOLDER_NAME: configs/demo_student.yaml is near configs/demo/student.yaml.
    """
    folders = dict.fromkeys(folder for folder in (path.parent, Path("configs")) if folder.is_dir())
    found = [file for folder in folders for pattern in ("*.yaml", "*/*.yaml") for file in sorted(folder.glob(pattern))]
    shipped = shipped_files()
    found += [file.relative_to(shipped) for file in sorted((shipped / "configs").glob("*/[!_]*.yaml"))]
    by_name = {f"{file.parent.name}_{file.stem}": file for file in reversed(found)}
    by_name |= {file.stem: file for file in reversed(found)}
    for name in (path.stem, f"{path.parent.name}_{path.stem}"):
        if near := difflib.get_close_matches(name, by_name, n=1):
            return f" Did you mean {by_name[near[0]]}?"
    return ""
