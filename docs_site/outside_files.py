"""Files outside docs/ as pages of the site, so that one Markdown text has links that work on a code host and here.

README.md is the site's first page. Whatever else a page links to outside docs/ becomes a page too: Markdown as it
is, other texts as a block of code. The links are written for the
files' own places; ``Pages.relink`` turns them to the pages.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

DOCS = "docs"
# File of the repository -> page of the site. All but the first are found again under names of their own.
FIRST_PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}

_TARGET = re.compile(r"(?<=\]\()([^)\s#]+)(?=(?:#[^)\s]*)?\))")
_LANGUAGES = {".cff": "yaml", ".py": "python", ".toml": "toml", ".yaml": "yaml", ".yml": "yaml"}


class Pages:
    """Which file of the repository is which page.

    Args:
        root: the folder of the repository.
        known: file of the repository -> page, both relative, for pages that come from elsewhere than docs/.

    Attributes:
        outside: file -> page of all files outside docs/ that are pages, those that only links name included.
    """

    def __init__(self, root: Path, known: Mapping[str, str] = FIRST_PAGES) -> None:
        self._root = root
        self.outside = dict(known)
        self._add_linked()

    def text_of(self, file: str) -> str:
        """The Markdown of the page that an outside file becomes, with its links turned to the pages."""
        text = (self._root / file).read_text(encoding="utf-8")
        if file.endswith(".md"):
            return self.relink(text, file)
        language = _LANGUAGES.get(PurePosixPath(file).suffix, "text")
        return f"# {file}\n\n````{language}\n{text.rstrip()}\n````\n"

    def relink(self, markdown: str, file: str) -> str:
        """Turn the links of a Markdown text that lies at ``file`` of the repository to pages and files of the site."""
        own = self._page_of(file)
        return _TARGET.sub(lambda found: self._relinked(found[0], file, own), markdown)

    def _relinked(self, target: str, file: str, own: str) -> str:
        linked = _linked_file(target, file)
        if linked is None or not (self._root / linked).is_file():
            return target  # mkdocs reports what does not exist
        return posixpath.relpath(self._page_of(linked), posixpath.dirname(own) or ".")

    def _page_of(self, file: str) -> str:
        return self.outside.get(file) or file.removeprefix(f"{DOCS}/")

    def _add_linked(self) -> None:
        """Follow the links of all pages to files outside docs/, and those of the Markdown files found."""
        inside = [path.relative_to(self._root).as_posix() for path in sorted((self._root / DOCS).rglob("*.md"))]
        waiting = [*inside, *(file for file in self.outside if file.endswith((".md", ".ipynb")))]
        while waiting:
            for linked in self._links_out(waiting.pop()):
                self.outside[linked] = linked if linked.endswith(".md") else f"files/{linked}.md"
                waiting += [linked] * linked.endswith(".md")

    def _links_out(self, file: str) -> Iterator[str]:
        """The files outside docs/ that a Markdown file or a notebook links to and that are no pages yet."""
        for target in _TARGET.findall((self._root / file).read_text(encoding="utf-8")):
            linked = _linked_file(target, file)
            if linked is None or linked.startswith(f"{DOCS}/") or linked in self.outside:
                continue
            if (self._root / linked).is_file():
                yield linked


def _linked_file(target: str, file: str) -> str | None:
    """The file of the repository that a link in ``file`` means; None for an address or a path outside."""
    if ":" in target or target.startswith("/"):
        return None
    linked = posixpath.normpath(posixpath.join(posixpath.dirname(file), target))
    return None if linked.startswith("..") else linked
