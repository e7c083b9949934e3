"""Links of one Markdown text lead to the right page of the site, and documents look alike on a code host and there."""

from __future__ import annotations

from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import markdown
import pytest
import yaml
from markdown_it import MarkdownIt

from docs_site.outside_files import Pages

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*sorted((ROOT / "docs").rglob("*.md")), *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING"))]
# What a list without an empty line before it, or one indented by two spaces, would lose.
COMPARED = ("h1", "h2", "h3", "h4", "li", "ul", "ol", "table", "tr", "pre", "img", "a", "code", "blockquote")


@pytest.fixture()
def pages(tmp_path: Path) -> Pages:
    texts = {
        "README.md": "[d](docs/data.md#lists) [c](configs/a.yaml) ![p](docs/p.png) [gone](docs/gone.md)",
        "docs/data.md": "[home](../README.md) [t](../tests/README.md) [m](sub/m.md) [w](https://a.b/c.md) [s](#lists)",
        "docs/sub/m.md": "[up](../data.md)",
        "docs/p.png": "",
        "tests/README.md": "[c](../configs/a.yaml) [d](../docs/data.md)",
        "configs/a.yaml": "name: a\n",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return Pages(tmp_path, {"README.md": "index.md"})


def test_links_lead_to_the_pages_of_their_files(pages: Pages) -> None:
    assert pages.outside == {
        "README.md": "index.md",
        "tests/README.md": "tests/README.md",
        "configs/a.yaml": "files/configs/a.yaml.md",
    }
    home = pages.text_of("README.md")
    assert home == "[d](data.md#lists) [c](files/configs/a.yaml.md) ![p](p.png) [gone](docs/gone.md)"
    inside = pages.relink("[home](../README.md) [t](../tests/README.md) [w](https://a.b/c.md) [s](#x)", "docs/data.md")
    assert inside == "[home](index.md) [t](tests/README.md) [w](https://a.b/c.md) [s](#x)"
    assert pages.relink("[up](../data.md)", "docs/sub/m.md") == "[up](../data.md)"
    assert pages.text_of("tests/README.md") == "[c](../files/configs/a.yaml.md) [d](../data.md)"


def test_a_text_that_is_no_markdown_becomes_a_block_of_code(pages: Pages) -> None:
    assert pages.text_of("configs/a.yaml") == "# configs/a.yaml\n\n````yaml\nname: a\n````\n"


def _tags(html: str) -> Counter[str]:
    found: Counter[str] = Counter()
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: found.update([tag])  # type: ignore[method-assign]
    parser.feed(html)
    return Counter({tag: found[tag] for tag in COMPARED})


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_document_has_the_same_parts_on_a_code_host_and_on_the_site(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    on_site = markdown.markdown(text, extensions=["tables", "fenced_code", "sane_lists", "attr_list", "toc"])
    assert _tags(on_site) == _tags(MarkdownIt("commonmark").enable("table").render(text))


def _in_nav(entry: object) -> set[str]:
    if isinstance(entry, str):
        return {entry}
    entries = entry.values() if isinstance(entry, dict) else entry
    assert not isinstance(entries, int | float | None)
    return {page for one in entries for page in _in_nav(one)}  # type: ignore[attr-defined]


def test_every_document_is_in_the_navigation() -> None:
    nav = _in_nav(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])
    documents = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert documents - nav == set(), "add these under nav of mkdocs.yml"
    notebooks = {f"notebooks/{path.stem}.md" for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert notebooks <= nav
