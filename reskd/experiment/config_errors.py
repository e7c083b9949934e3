"""Turns pydantic's validation errors into sentences that name keys as the user wrote them.

Note [Keys in pydantic's faults]
The location of a fault mixes the keys of the file with names that only pydantic knows: it is student.tsn.backbone where
the file has student.backbone, because TSN is one of the families of a student. The location also lacks the keys that
the group allows, which "did you mean" needs. We find both by following the location through the models' fields.

Note [Causes before consequences]
Unknown keys come first. A misspelt key is also missing under its right name, which says nothing new and is left out. A
misspelt family or kind gives its group the settings of the default one, so the group's other faults may be none; they
are left out until it is right.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel, ValidationError

from reskd.experiment.config_files import shown
from reskd.experiment.renamed_keys import REMOVED_KEYS, RENAMED_KEYS, new_value

_MEMBERS_OF_UNIONS = ("tuple", "function", "literal[", "lax-or-strict[", "is-instance[", "nullable[")
_UNKNOWN = "extra_forbidden"
_OF_TAGS = ("union_tag_invalid", "union_tag_not_found", "unknown_family", "unknown_kind")
_TAGS = ("family", "kind")
_OF_FILES = ("stages", "base")  # keys of a file that no experiment has
_OF_GROUPS = ("model_type", "model_attributes_type", "dict_type")
_LONGEST_MESSAGE = 1000  # characters; it may repeat what was given


class Fault(NamedTuple):
    keys: tuple[str, ...]  # as in the file; empty: the whole config
    sentence: str


class _Located(NamedTuple):
    """One of pydantic's faults."""

    fault: Mapping[str, Any]
    keys: tuple[str, ...]  # as in the file
    known: list[str]  # all keys of the group that the last one belongs to
    of_other_kinds: Mapping[str, str]  # keys that the group has under another kind -> that kind

    @property
    def kind(self) -> str:
        return str(self.fault["type"])


def explain(error: ValidationError, model: Any, *, group: str = "") -> list[Fault]:
    """One sentence per fault; see Note [Causes before consequences].

    Args:
        model: the type that was validated: a model, or a union of models.
        group: the key of its settings in an experiment's config; empty if they are the whole config.
    """
    faults = [_locate(fault, model) for fault in error.errors(include_url=False)]
    meant = {fault.keys: (*fault.keys[:-1], near) for fault in faults if (near := _nearest_key(fault, group))}
    misread = [keys[:-1] for keys in meant.values() if keys[-1] in _TAGS]
    faults = [
        fault
        for fault in faults
        if not (fault.kind == "missing" and fault.keys in meant.values())
        and (_is_tag(meant.get(fault.keys)) or not any(fault.keys[: len(keys)] == keys for keys in misread))
    ]
    faults.sort(key=lambda fault: fault.kind != _UNKNOWN)
    return [Fault(*_explain(fault, group)) for fault in faults]


def _explain(located: _Located, group: str) -> tuple[tuple[str, ...], str]:
    fault, keys = located.fault, located.keys
    key = ".".join(keys)
    if located.kind == _UNKNOWN:
        return keys, f"unknown key {key}; {_hint(located, group)}"
    if located.kind == "missing":
        return keys, f"{key}: expected a value, found none; it has no default."
    if located.kind in _OF_GROUPS:
        return keys, f"{key}: expected a group of settings, found {shown(fault['input'])}."
    if located.kind in _OF_TAGS:
        return _explain_tag(located)
    if located.kind == "path_type":
        advice = "; a number needs quotes" if isinstance(fault["input"], int | float) else ""
        return keys, f"{key}: expected a path, found {shown(fault['input'])}{advice}."
    message = str(fault["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    if len(message) > _LONGEST_MESSAGE:
        message = f"{message[:_LONGEST_MESSAGE]}..."
    found = "" if located.kind == "value_error" else f", found {shown(fault['input'])}"
    value = new_value(_whole_key(key, group), fault["input"])
    renamed = f"; {fault['input']} was renamed to {value}" if value else ""
    sentence = f"{f'{key}: ' if key else ''}{message}{found}{renamed}"
    return keys, sentence if sentence.endswith("?") else f"{sentence}."


def _explain_tag(located: _Located) -> tuple[tuple[str, ...], str]:
    """A family or kind that does not exist, or is missing."""
    fault, given = located.fault, located.fault["input"]
    if located.kind == "union_tag_not_found":
        tag = fault["ctx"]["discriminator"].strip("'")
        misspelt = _nearest(tag, list(map(str, given))) if isinstance(given, Mapping) else None
        if misspelt:
            return (*located.keys, misspelt), f"unknown key {'.'.join(located.keys)}.{misspelt}; did you mean {tag}?"
        key = ".".join((*located.keys, tag))
        return located.keys, f"{key}: expected a value, found none; it says which settings this group has."
    if located.kind == "union_tag_invalid":
        tag, names = fault["ctx"]["discriminator"].strip("'"), re.findall(r"'([^']*)'", fault["ctx"]["expected_tags"])
    else:  # our own message: "family: expected one of a, b and c"
        tag, _, listed = str(fault["msg"]).partition(": expected one of ")
        names = re.split(r", | and ", listed)
    keys = (*located.keys, tag)
    found = given.get(tag) if isinstance(given, Mapping) else given
    near = _nearest(found, names) if isinstance(found, str) else None
    hint = f"; did you mean {near}?" if near else "."
    return keys, f"{'.'.join(keys)}: expected one of {', '.join(names)}, found {shown(found)}{hint}"


def _hint(located: _Located, group: str) -> str:
    """Advice for an unknown key."""
    keys, known = located.keys, located.known
    if keys == ("base",) and not group:
        return "only a file can name a base, at its top level; write a file with this base."
    whole_key = _whole_key(".".join(keys), group)
    if whole_key in REMOVED_KEYS:
        return REMOVED_KEYS[whole_key]
    renamed = RENAMED_KEYS.get(whole_key)
    if renamed:
        found = new_value(renamed, located.fault["input"])
        and_value = f", and its value {located.fault['input']} to {found}" if found else ""
        return f"it was renamed to {renamed.removeprefix(f'{group}.')}{and_value}."
    near = _nearest_key(located, group)
    if near is None:
        return f"known here: {', '.join(known)}."
    if near in located.of_other_kinds:
        belongs = f"belongs to kind {located.of_other_kinds[near]}"
        return f"it {belongs}." if near == keys[-1] else f"did you mean {near}, which {belongs}?"
    return f"did you mean {near}?"


def _nearest_key(located: _Located, group: str) -> str | None:
    """The known key that an unknown one is probably meant to be."""
    if located.kind != _UNKNOWN:
        return None
    is_experiment = len(located.keys) == 1 and not group and "student" in located.known
    return _nearest(located.keys[-1], [*located.known, *located.of_other_kinds, *(_OF_FILES if is_experiment else ())])


def _nearest(name: str, known: Sequence[str]) -> str | None:
    by_lower = {one.lower(): one for one in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.5)
    return by_lower[near[0]] if near else None


def _is_tag(keys: tuple[str, ...] | None) -> bool:
    return keys is not None and keys[-1] in _TAGS


def _whole_key(key: str, group: str) -> str:
    return f"{group}.{key}" if group else key


def _locate(fault: Mapping[str, Any], model: Any) -> _Located:
    """Find the fault's keys in the file, and the keys of the group that the last one belongs to.

    See Note [Keys in pydantic's faults].
    """
    location = [str(part) for part in fault["loc"] if not str(part).startswith(_MEMBERS_OF_UNIONS)]
    # A last part that is no field is an unknown key or an index, and stays. A fault of a whole group may end in a tag.
    num_before_last = len(location) - (fault["type"] not in ("value_error", *_OF_GROUPS))
    models, known, keys = _models_in(model), set[str](), list[str]()
    of_other_kinds: dict[str, str] = {}
    for number, part in enumerate(location):
        if chosen := [one for one in models if part in _tags_of(one)]:
            others = [one for one in models if one not in chosen and "kind" in one.model_fields]
            of_other_kinds = {name: " or ".join(_tags_of(one)) for one in others for name in one.model_fields}
            models = chosen
        fields = [one.model_fields[part].annotation for one in models if part in one.model_fields]
        if fields or number >= num_before_last:
            keys.append(part)
            known = {name for one in models for name in one.model_fields}
        if fields:
            of_other_kinds = {}
        models = [found for field in fields for found in _models_in(field)] or models
    elsewhere = {name: kind for name, kind in of_other_kinds.items() if name not in known}
    return _Located(fault, tuple(keys), sorted(known), elsewhere)


def _tags_of(model: type[BaseModel]) -> list[str]:
    """The family of this network, or the kind of this group."""
    fields = [model.model_fields[tag] for tag in _TAGS if tag in model.model_fields]
    return [name for field in fields for name in get_args(field.annotation)]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """The models that a value of this type may be: one, or several for a union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in _models_in(part)]
