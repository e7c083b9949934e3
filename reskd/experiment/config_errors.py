"""Turns pydantic's validation errors into sentences that name keys as the user wrote them.

Note [Keys in pydantic's faults]
The location of a fault mixes the keys of the file with names that only pydantic knows: it is student.tsn.backbone where
the file has student.backbone, because TSN is one of the families of a student. The location also lacks the keys that
the group allows, which "did you mean" needs. We find both by following the location through the models' fields.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel, ValidationError

from reskd.experiment.config_files import shown
from reskd.experiment.renamed_keys import REMOVED_KEYS, RENAMED_KEYS, new_value

_MEMBERS_OF_UNIONS = ("tuple", "function", "literal[", "lax-or-strict[", "is-instance[", "nullable[")
_OF_GROUPS = ("model_type", "model_attributes_type", "dict_type")
_LONGEST_MESSAGE = 1000  # characters; it may repeat what was given


class Fault(NamedTuple):
    keys: tuple[str, ...]  # as in the file; empty: the whole config
    sentence: str


def explain(error: ValidationError, model: Any, *, group: str = "") -> list[Fault]:
    """One sentence per fault.

    Args:
        model: the type that was validated: a model, or a union of models.
        group: the key of its settings in an experiment's config; empty if they are the whole config.
    """
    return [_explain(fault, model, group) for fault in error.errors(include_url=False)]


def _explain(fault: Mapping[str, Any], model: Any, group: str) -> Fault:
    keys, known = _keys_of(fault, model)
    key = ".".join(keys)
    if fault["type"] == "extra_forbidden":
        return Fault(keys, f"unknown key {key}; {_hint(keys, known, group, fault['input'])}")
    if fault["type"] == "missing":
        return Fault(keys, f"{key}: expected a value, found none; it has no default.")
    if fault["type"] in _OF_GROUPS:
        return Fault(keys, f"{key}: expected a group of settings, found {shown(fault['input'])}.")
    if fault["type"] == "path_type":
        advice = "; a number needs quotes" if isinstance(fault["input"], int | float) else ""
        return Fault(keys, f"{key}: expected a path, found {shown(fault['input'])}{advice}.")
    message = str(fault["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    if len(message) > _LONGEST_MESSAGE:
        message = f"{message[:_LONGEST_MESSAGE]}..."
    found = "" if fault["type"] == "value_error" else f", found {shown(fault['input'])}"
    value = new_value(_whole_key(key, group), fault["input"])
    renamed = f"; {fault['input']} was renamed to {value}" if value else ""
    return Fault(keys, f"{f'{key}: ' if key else ''}{message}{found}{renamed}.")


def _hint(keys: tuple[str, ...], known: list[str], group: str, value: Any) -> str:
    """Advice for an unknown key."""
    if keys == ("base",) and not group:
        return "only a file can name a base, at its top level; write a file with this base."
    whole_key = _whole_key(".".join(keys), group)
    if whole_key in REMOVED_KEYS:
        return REMOVED_KEYS[whole_key]
    renamed = RENAMED_KEYS.get(whole_key)
    if renamed:
        found = new_value(renamed, value)
        and_value = f", and its value {value} to {found}" if found else ""
        return f"it was renamed to {renamed.removeprefix(f'{group}.')}{and_value}."
    near = difflib.get_close_matches(keys[-1], known, n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}."


def _whole_key(key: str, group: str) -> str:
    return f"{group}.{key}" if group else key


def _keys_of(fault: Mapping[str, Any], model: Any) -> tuple[tuple[str, ...], list[str]]:
    """The fault's location in the file, and all keys of the group that the last one belongs to.

    See Note [Keys in pydantic's faults].
    """
    location = [str(part) for part in fault["loc"] if not str(part).startswith(_MEMBERS_OF_UNIONS)]
    # A last part that is no field is an unknown key or an index, and stays. A fault of a whole group may end in a tag.
    num_before_last = len(location) - (fault["type"] not in ("value_error", *_OF_GROUPS))
    models, known, keys = _models_in(model), set[str](), list[str]()
    for number, part in enumerate(location):
        models = [one for one in models if _is_family(one, part)] or models
        fields = [one.model_fields[part].annotation for one in models if part in one.model_fields]
        if fields or number >= num_before_last:
            keys.append(part)
            known = {name for one in models for name in one.model_fields}
        models = [found for field in fields for found in _models_in(field)] or models
    return tuple(keys), sorted(known)


def _is_family(model: type[BaseModel], name: str) -> bool:
    field = model.model_fields.get("family")
    return field is not None and name in get_args(field.annotation)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """The models that a value of this type may be: one, or several for a union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in _models_in(part)]
