"""Finds the function that a config names, and calls it.

A location has one of three forms:

    path/to/file.py:function      a file of the user's; a relative path starts at the current folder
    package.module:function       a module that Python can import
    name                          what an installed package offers under an entry point of ``INSTALLED_GROUPS``

Note [Code of a file]
A file is executed once a process, as a module of its own; the modules beside it can be imported from it, as if Python
had been started with it. Two files of one name are two modules.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

Kind = Literal["network", "loss", "metric", "logger"]

INSTALLED_GROUPS: Mapping[Kind, str] = {
    "network": "reskd.networks",
    "loss": "reskd.losses",
    "metric": "reskd.metrics",
    "logger": "reskd.loggers",
}
_FORMS = "path/to/file.py:function, package.module:function, or the name of an installed {kind}"
_NAME = re.compile(r"[A-Za-z_][\w-]*")
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_LONGEST = 300  # characters of somebody else's message
_OUR_FOLDER = str(Path(__file__).parents[1])


def check_location(location: str) -> str:
    """The location itself.

    Raises:
        ValueError: it has none of the three forms.
    """
    place, colon, name = location.rpartition(":")
    is_whole = bool(_NAME.fullmatch(location)) if not colon else all(part.isidentifier() for part in name.split("."))
    if colon and not place.endswith(".py"):
        is_whole = is_whole and bool(_MODULE.fullmatch(place))
    if not is_whole:
        raise ValueError(
            f"expected path/to/file.py:function, package.module:function or the name of something installed, found "
            f"{location[:200]!r}"
        )
    return location


def is_installed_name(location: str) -> bool:
    """Whether the location is the name of an entry point, whose package somebody installed for this purpose."""
    return ":" not in location


def called_name(location: str) -> str:
    """The location without folders: "file.py:function"; the same wherever the file lies."""
    place, colon, name = location.rpartition(":")
    return f"{Path(place).name}:{name}" if colon and place.endswith(".py") else location


def make(location: str, kind: Kind, *given: Any, key: str, arguments: Mapping[str, Any], **named: Any) -> Any:
    """What the function at ``location`` returns.

    Args:
        kind: of the thing, for an installed name and for messages.
        given, named: what we pass.
        key: the setting that names the location, for messages.
        arguments: what the config passes, by keyword.

    Raises:
        ValueError: there is no such function, it does not take these arguments, or it raises an error itself.
    """
    function = find(location, kind, key)
    takes = _signature(function)
    try:
        if takes is not None:
            takes.bind(*given, **{**arguments, **named})
    except TypeError as error:
        ours = [f"{len(given)} by position"] if given else []
        passed = ", ".join([*ours, *named, *arguments]) or "nothing"
        raise ValueError(
            f"{key}: expected a function that can be called with {passed}, found {called_name(location)}{takes} "
            f"({error}); change the function, or the setting beside {key.rpartition('.')[2]}: arguments (in a file "
            "with stages they are merged with the common ones, and KEY: null takes one back)."
        ) from None
    try:
        return function(*given, **{**arguments, **named})
    except Exception as error:
        raise ValueError(f"{key}: {called_name(location)} failed with {reason_of(error)}.") from error


def reason_of(error: BaseException) -> str:
    """Somebody else's error on one line: its kind, its message, and the first line of code that is not ours."""
    message = " ".join(str(error).split())[:_LONGEST]
    torch = sys.modules.get("torch")
    hidden = (_OUR_FOLDER, "<", *(str(Path(name).parent) for name in [getattr(torch, "__file__", None)] if name))
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(hidden)]
    where = f" ({Path(frames[0].filename).name}, line {frames[0].lineno})" if frames else ""
    return f"{type(error).__name__}: {message}{where}"


def find(location: str, kind: Kind, key: str) -> Callable[..., Any]:
    """The function at ``location``, not called; raises ValueError as ``make``."""
    place, colon, name = location.rpartition(":")
    if not colon:
        found = _load_entry_point(location, kind, key)
    else:
        module = _file_module(Path(place), key) if place.endswith(".py") else _import(place, key)
        found = _attribute(module, name, location, key)
    if not callable(found):
        raise ValueError(
            f"{key}: expected a function or class, found {type(found).__name__} at {called_name(location)}; name a "
            "function that makes it."
        )
    return found


def _attribute(module: ModuleType, name: str, location: str, key: str) -> Any:
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            names = [own for own in vars(module) if not own.startswith("_") and callable(getattr(module, own))]
            raise ValueError(
                f"{key}: expected a function {name} in {location.rpartition(':')[0]}, found none{_nearest(name, names)}"
            )
        found = getattr(found, part)
    return found


def _nearest(name: str, names: list[str]) -> str:
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(close)}?" if close else "; check the spelling."


def _load_entry_point(name: str, kind: Kind, key: str) -> Any:
    offered: dict[str, EntryPoint] = {point.name: point for point in entry_points(group=INSTALLED_GROUPS[kind])}
    if name not in offered:
        installed = f"installed are {', '.join(sorted(offered)[:10])}" if offered else f"no {kind} is installed"
        raise ValueError(
            f"{key}: expected {_FORMS.format(kind=kind)}, found {name!r}; {installed}{_nearest(name, list(offered))}"
        )
    try:
        return offered[name].load()
    except Exception as error:
        raise ValueError(f"{key}: the installed {kind} {name} cannot be imported: {reason_of(error)}.") from error


def _import(name: str, key: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
            raise ValueError(
                f"{key}: expected a module {name} that Python can import, found no {error.name}; install it, or give "
                "path/to/file.py:function."
            ) from None
        raise ValueError(f"{key}: the module {name} cannot be imported: {reason_of(error)}.") from error


def _file_module(path: Path, key: str) -> ModuleType:
    """See Note [Code of a file]."""
    if not path.is_file():
        raise ValueError(
            f"{key}: expected a Python file at {path}, found none; a relative path starts at the current folder."
        )
    whole = path.resolve()
    name = f"reskd_extension_{whole.stem}_{hashlib.sha256(str(whole).encode(errors='surrogateescape')).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, whole)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    if str(whole.parent) not in sys.path:
        sys.path.append(str(whole.parent))  # last, so that no name of theirs hides an installed one
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if not isinstance(error, Exception):
            raise
        raise ValueError(f"{key}: {path} cannot be executed: {reason_of(error)}.") from error
    return module


def _signature(function: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):  # some built-in functions have none
        return None
