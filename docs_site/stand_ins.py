"""Imports settings classes where numpy is not installed.

Files that define settings also import numpy, for types and functions that no setting needs (and no torch). As Sphinx's
autodoc_mock_imports does, an import of a package that is missing gives an object that accepts everything.
tests/docs_site/test_stand_ins.py shows that the settings are the same with both packages.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

_HEAVY = ("numpy",)


@contextmanager
def stand_ins_for_missing(packages: Sequence[str] = _HEAVY) -> Iterator[None]:
    """Inside, the ones of ``packages`` that are not installed can be imported."""
    finder = _Finder([name for name in packages if importlib.util.find_spec(name) is None])
    sys.meta_path.append(finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _StandIn(MagicMock):
    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        """As a base of a class, it is left out."""
        return ()


class _Finder(MetaPathFinder, Loader):
    def __init__(self, packages: Sequence[str]) -> None:
        self._packages = packages

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        wanted = fullname.partition(".")[0] in self._packages
        return ModuleSpec(fullname, self, is_package=True) if wanted else None

    def create_module(self, spec: ModuleSpec) -> Any:
        return _StandIn(name=spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """There is nothing to run."""
