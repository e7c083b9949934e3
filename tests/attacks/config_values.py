"""Values that a config's file holds and the resolved config does not."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from reskd.experiment.config import ExperimentConfig

NO_SETTINGS = ("base", "stages", "name")  # of a file, or changed by its stages


def differences(text: str, configs: Sequence[ExperimentConfig]) -> Iterator[str]:
    """Values of a file that none of its configs holds, read without the product's own reader."""
    resolved = [config.resolved() for config in configs]
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    for keys, value in leaves(node, ()):
        if keys[0] in NO_SETTINGS or value in ("null", "~", ""):
            continue
        if not any(_holds(one, keys, value) for one in resolved):
            yield f"{'.'.join(keys)}: {value[:50]}"


def leaves(node: Any, keys: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every scalar of a file with its keys; equal keys come twice."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from leaves(value, (*keys, str(key.value)))
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield from leaves(value, (*keys, str(number)))
    elif node is not None and keys:
        yield keys, node.value


def _holds(resolved: Any, keys: Sequence[str], text: str) -> bool:
    for key in keys:
        if isinstance(resolved, list):
            resolved = dict(enumerate(resolved)).get(int(key)) if key.isdigit() else None
        elif isinstance(resolved, dict):
            resolved = resolved.get(key)
        else:
            return False
        if resolved is None:
            return False
    if isinstance(resolved, list):  # size: 64 means [64, 64]
        return all(_is(one, text) for one in resolved)
    return _is(resolved, text)


def _is(value: Any, text: str) -> bool:
    if isinstance(value, bool):
        return text.lower() == str(value).lower()
    if isinstance(value, int | float):
        try:
            return math.isclose(float(text), value, rel_tol=1e-12)
        except ValueError:
            return False
    return str(value) == text or str(value) == str(Path(text))
