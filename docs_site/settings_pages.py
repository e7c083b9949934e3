"""Pages of all settings: key, type, default and meaning of each, from the classes that check them.

A section is a group of settings. Where a group has several kinds (``family: tsn`` or ``family: tsm``), each is a
section. A group that occurs twice is described once, and the second place refers to the first.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from docs_site.setting_types import bounds_text, default_text, models_in, type_text
from docs_site.stand_ins import stand_ins_for_missing

_KINDS = ("kind", "family")  # the settings by which one chooses among groups
# What Markdown or a table would take for its own.
_SPECIAL = re.compile(r"[\\`*_{}\[\]<>|~&]")
_HEAD = "| setting | type | default | meaning |\n|---|---|---|---|"

_EXPERIMENT = """\
A config's file describes an experiment with these settings; [the data](../data.md), [the networks](../models.md) and
[studies](../studies.md) have their own pages, with reasons and examples. On the command line a setting is
`optimizer.lr=0.02`, in a file

```yaml
base: configs/my/student.yaml   # a file whose settings come first (optional)
optimizer:
  lr: 0.02
```

`null` removes what the base sets, so that the default holds. `stages:` trains several experiments of one file in turn
([how](../fewer_frames.md)). A key that is not on this page is an error, which names the nearest one.
"""
_STUDY = """\
The file of `reskd study` has these settings; [the page on studies](../studies.md) explains them.
"""
_RATES = """\
The file of `reskd analyze scaling` has these settings; [the page on scaling](../scaling.md) explains them.
"""


class _Section(NamedTuple):
    key: str  # empty: the top level
    choice: str  # "family: tsn" where several groups can stand at the key
    within: str  # the choice above it that leads here, or empty
    model: type[BaseModel]

    @property
    def anchor(self) -> str:
        return re.sub(r"[^a-z0-9_]+", "-", f"{self.key} {self.choice} {self.within}".lower()).strip("-") or "top-level"

    @property
    def title(self) -> str:
        name = f"`{self.key}`" if self.key else "Top level"
        return f"{name} with `{self.choice}`" if self.choice else name


def settings_pages() -> dict[str, str]:
    """Page under settings/ -> its Markdown. Imports the settings classes; torch and numpy need not be installed."""
    with stand_ins_for_missing():
        from reskd.experiment.config import ExperimentConfig
        from reskd.scaling.config import Rates
        from reskd.study.config import StudyConfig
    return {
        "index.md": settings_page("Settings of an experiment", _EXPERIMENT, ExperimentConfig),
        "study.md": settings_page("Settings of a study", _STUDY, StudyConfig),
        "rates.md": settings_page("Settings of a cluster's rates", _RATES, Rates),
    }


def settings_page(title: str, introduction: str, model: type[BaseModel]) -> str:
    """The Markdown page of a file whose whole content ``model`` checks."""
    described: dict[tuple[type[BaseModel], ...], list[_Section]] = {}
    blocks = [f"# {title}", introduction.strip()]
    waiting = [_Section("", "", "", model)]
    while waiting:
        section = waiting.pop(0)
        rows, inner = [], []
        for name, field in section.model.model_fields.items():
            key = f"{section.key}.{name}".lstrip(".")
            models = tuple(models_in(field.annotation))
            if models and models not in described:
                described[models] = _sections_of(key, models, section)
                inner += described[models]
            rows.append(_row(key, field, described.get(models, [])))
        waiting = inner + waiting  # what belongs together stands together
        blocks.append(f"## {section.title} {{ #{section.anchor} }}")
        where = f"Where `{section.within}`." if section.within else ""
        blocks.append(f"{where} {_plain(_own_docstring(section.model))}".strip())
        blocks.append("\n".join([_HEAD, *rows]))
    return "\n\n".join(filter(None, blocks)) + "\n"


def _sections_of(key: str, models: Sequence[type[BaseModel]], above: _Section) -> list[_Section]:
    within = (f"{above.key}.{above.choice}" if above.choice else "") or above.within
    if len(models) == 1:
        return [_Section(key, "", within, models[0])]
    return [_Section(key, _choice(model), within, model) for model in models]


def _choice(model: type[BaseModel]) -> str:
    """``family: tsn``: the setting that says that a group is of this class."""
    name = next(name for name in _KINDS if name in model.model_fields)
    annotation = model.model_fields[name].annotation
    assert get_origin(annotation) is Literal
    return f"{name}: {' or '.join(get_args(annotation))}"


def _row(key: str, field: FieldInfo, sections: Sequence[_Section]) -> str:
    if sections:
        links = [f"[{_plain(one.choice or one.key)}](#{one.anchor})" for one in sections]
        many = "list of groups" if get_origin(field.annotation) in (list, tuple) else "group"
        kind = f"{many}: {', '.join(links)}"
    else:
        kind = type_text(field.annotation, bounds_text(field.metadata))
    default = default_text(field)
    default = default if default in ("", "required") else f"`{default.replace('|', '&#124;')}`"
    return f"| `{key}` | {kind} | {default} | {_plain(field.description or '')} |"


def _own_docstring(model: type[BaseModel]) -> str:
    return " ".join(inspect.cleandoc(model.__doc__ or "").split())


def _plain(text: str) -> str:
    """Text that Markdown leaves as it is."""
    return _SPECIAL.sub(lambda found: f"&#{ord(found[0])};", text)
