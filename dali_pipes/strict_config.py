"""The base of all models of a config: unknown keys, infinities and values of another kind are refused."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler
from pydantic_core import CoreSchema
from pydantic_core.core_schema import no_info_before_validator_function

# Bounds of numbers without one of their own: they keep sums and products within 64 bits.
_LARGEST_INT = 10**9
_LARGEST_FLOAT = 1e12


def _make_strict(schema: Any) -> None:
    """Let numbers and booleans be given as such only, and within bounds.

    ``strict`` of the whole model would also refuse a list for a tuple.
    """
    if isinstance(schema, list | tuple):
        for inner in schema:
            _make_strict(inner)
    if not isinstance(schema, dict):
        return
    kind = schema.get("type")
    if kind in ("int", "float", "bool"):
        schema["strict"] = True
    if kind in ("int", "float"):
        largest = _LARGEST_INT if kind == "int" else _LARGEST_FLOAT
        if "le" not in schema and "lt" not in schema:
            schema["le"] = largest
        if "ge" not in schema and "gt" not in schema:
            schema["ge"] = -largest
    if kind == "literal" and not isinstance(schema["expected"][0], str):
        numbers = dict(schema)
        schema.clear()
        schema.update(no_info_before_validator_function(_no_boolean, numbers))
        return
    for inner in schema.values():
        _make_strict(inner)


def _no_boolean(value: object) -> object:
    """Python takes true for 1."""
    if isinstance(value, bool):
        raise ValueError(f"expected a number, found {str(value).lower()}")
    return value


class StrictConfig(BaseModel):
    """A frozen model that rejects unknown keys, infinities, and values of another kind: true or "8" is no number.

    A whole number is taken for a float.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        _make_strict(schema)
        return schema
