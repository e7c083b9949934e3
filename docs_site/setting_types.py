"""The types and defaults of settings, in the words of somebody who writes YAML."""

from __future__ import annotations

import json
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

_NAMES = {bool: "true or false", int: "whole number", float: "number", str: "text", Path: "path", Any: "any value"}
_BOUNDS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """The groups of settings that a value of this type may be or hold, in the order of the annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in models_in(part)]


def type_text(annotation: Any, bounds: str = "") -> str:
    """A type without groups, in Markdown, as ``whole number >= 1 or `auto```.

    Args:
        bounds: of ``bounds_text``, for the numbers in it.
    """
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_text(parts[0], bounds_text(parts[1:]) or bounds)
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in parts)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(type_text(part, bounds) for part in parts if part is not type(None)))
    if origin is tuple and len(set(parts)) == 1:
        return f"list of {len(parts)}: {type_text(parts[0], bounds)}"
    if origin in (list, tuple, Sequence):
        return f"list: {type_text(parts[0], bounds)}"
    if origin is dict:
        return f"group of any names: {type_text(parts[1], bounds)}"
    name = _NAMES.get(annotation)
    if name is None:
        raise ValueError(
            f"expected a type that docs_site/setting_types.py has words for, found {annotation}; add them."
        )
    return f"{name} {bounds}".rstrip() if annotation in (int, float) else name


def bounds_text(metadata: Sequence[Any]) -> str:
    """The bounds of a number among what pydantic keeps of an annotation or a Field, as ``>= 0, < 1``."""
    found: dict[str, Any] = {}
    for one in metadata:
        for part in (one, *getattr(one, "metadata", ())):  # a Field inside Annotated has its own
            found |= {sign: getattr(part, name) for name, sign in _BOUNDS.items() if hasattr(part, name)}
    return ", ".join(f"{sign} {_number_text(value)}" for sign, value in found.items() if value is not None)


def _number_text(number: float) -> str:
    if isinstance(number, int) and number > 2**40 and number.bit_count() == 1:
        return f"2^{number.bit_length() - 1}"
    return f"{number:,}"


def default_text(field: FieldInfo) -> str:
    """The default as in YAML; "required" where there is none, "" for a group whose settings have their own."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return ""
    plain = TypeAdapter(Any).dump_python(value, mode="json")
    return plain if isinstance(plain, str) else json.dumps(plain)
