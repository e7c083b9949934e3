"""Write names of any characters into Markdown pages and pictures: as text, never as markup."""

from __future__ import annotations

import re

from dali_pipes.file_names import on_one_line

# A backslash is one itself unless punctuation follows it.
_MARKUP = re.compile(r"[|`*\[\]<&]|\\(?=[!-/:-@\[-`{-~])")


def in_markdown(name: object) -> str:
    """A name for a Markdown page: on one line, with a backslash before what would be markup, such as ``<script>``."""
    return _MARKUP.sub(r"\\\g<0>", on_one_line(str(name)))


def in_picture(name: str) -> str:
    """A name for matplotlib: on one line, dollars are no formulas, and no underscore hides it from a legend."""
    text = on_one_line(name).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text
