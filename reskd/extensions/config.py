"""Settings that name somebody's code."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from dali_pipes.strict_config import StrictConfig
from reskd.extensions.locate import check_location


class MadeByCode(StrictConfig):
    """A thing that a function of the user's makes."""

    build: Annotated[str, AfterValidator(check_location)] = Field(
        description="the function: path/to/file.py:function, package.module:function, or the name of an installed one"
    )
    arguments: dict[str, Any] = Field({}, description="passed to the function by keyword")


def _plain(name: str) -> str:
    if not name.isidentifier():
        raise ValueError(f"expected a name of letters, digits and _, found {name[:100]!r}")
    return name


PlainName = Annotated[str, AfterValidator(_plain)]
