"""What mkdocs calls while it builds the site (``hooks`` of mkdocs.yml)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files, InclusionLevel

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # mkdocs loads this file by its path

from docs_site.api_pages import api_pages  # noqa: E402
from docs_site.notebook_pages import notebook_page  # noqa: E402
from docs_site.outside_files import DOCS, FIRST_PAGES, Pages  # noqa: E402
from docs_site.settings_pages import settings_pages  # noqa: E402

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

NOTEBOOKS = "notebooks"
STYLE = Path(__file__).with_name("site.css")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages that are not in docs/: files outside, notebooks, the API reference and the settings."""
    try:
        notebooks = {path: path.relative_to(ROOT).as_posix() for path in sorted((ROOT / NOTEBOOKS).glob("*.ipynb"))}
        known = {name: name.replace(".ipynb", ".md") for name in notebooks.values()}
        pages = Pages(ROOT, FIRST_PAGES | known)
        in_nav = {**FIRST_PAGES, **known}.keys()
        for outside, page in pages.outside.items():
            if outside not in known:
                level = InclusionLevel.INCLUDED if outside in in_nav else InclusionLevel.NOT_IN_NAV
                files.append(File.generated(config, page, content=pages.text_of(outside), inclusion=level))
        for path, name in notebooks.items():
            shown = notebook_page(path)
            files.append(File.generated(config, known[name], content=pages.relink(shown.markdown, name)))
            for picture, png in shown.pictures.items():
                files.append(File.generated(config, f"{NOTEBOOKS}/{picture}", content=png))
            files.append(File.generated(config, name, abs_src_path=str(path)))
        for folder, made in (("api", api_pages(ROOT)), ("settings", settings_pages())):
            for page, content in made.items():
                files.append(File.generated(config, f"{folder}/{page}", content=content))
    except ValueError as error:
        raise PluginError(str(error)) from None
    files.append(File.generated(config, STYLE.name, abs_src_path=str(STYLE)))
    config.extra["pages"] = pages
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links of documents to files outside docs/ to their pages."""
    if page.file.generated_by:
        return markdown  # its links were turned when it was made
    pages: Pages = config.extra["pages"]
    return pages.relink(markdown, f"{DOCS}/{page.file.src_uri}")
