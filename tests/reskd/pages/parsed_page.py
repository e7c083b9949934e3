"""A page as a reader without a browser sees it, and the promises that every page keeps."""

from __future__ import annotations

from html.parser import HTMLParser

EMPTY = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """The tags, attributes, classes and text of a page; checks that each tag is closed where it belongs."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open_tags: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text_of_classes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.feed(page)
        assert self.open_tags == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self.open_tags.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open_tags.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if self.open_tags and self.open_tags[-1] == "td":
            self.text_of_classes.append((self.tags[-1][1].get("class") or "", data))

    def of_tag(self, name: str) -> list[dict[str, str | None]]:
        """The attributes of each element of this name."""
        return [attributes for tag, attributes in self.tags if tag == name]


def check_page(text: str) -> Page:
    """Check that a page is well formed, loads nothing, runs nothing, and has words for each picture and table."""
    page = Page(text)
    assert text.startswith('<!DOCTYPE html>\n<html lang="en">')
    assert not {"script", "link", "iframe", "object", "base", "form"} & {tag for tag, _ in page.tags}
    for _, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "srcset", "xlink:href"):
            assert (attributes.get(name) or "data:").startswith("data:")
    assert "url(" not in text and "@import" not in text
    assert all(attributes.get("alt") for attributes in page.of_tag("img"))
    assert all(attributes.get("aria-label") and attributes.get("role") == "img" for attributes in page.of_tag("svg"))
    assert all(attributes.get("scope") in ("col", "row") for attributes in page.of_tag("th"))
    policy = next(attributes for attributes in page.of_tag("meta") if "http-equiv" in attributes)
    assert policy["content"] == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return page
