"""Hooks of the site (mkdocs.yml): pages and files that lie outside docs/, and links to them.

A page links as it would in the repository (`../tcia_assets/catalog.py`). In the site, a linked file
that is no page is a text below `files/`.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
# Pages of the site that lie in the repository's root, with their names there.
ROOT_PAGES = {"changelog.md": "CHANGELOG.md", "contributing.md": "CONTRIBUTING.md"}
LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]*)\]\((?P<target>[^)#\s]+)(?P<anchor>#[^)\s]*)?\)")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages that lie in the root."""
    for name, source in ROOT_PAGES.items():
        files.append(File.generated(config, name, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Make links to files outside docs/ links of the site; hide a side menu of a single page."""
    if page.is_top_level:
        page.meta["hide"] = ["navigation"]
    uri = page.file.src_uri
    folder = posixpath.dirname(posixpath.join("docs", uri)) if uri not in ROOT_PAGES else ""

    def site_link(link: re.Match[str]) -> str:
        if "://" in link["target"] or link["target"].startswith("mailto:"):
            return link[0]
        place = posixpath.normpath(posixpath.join(folder, link["target"]))
        target = site_uri(place, config, files)
        if target is None:
            return link["text"]
        relative = posixpath.relpath(target, posixpath.dirname(uri) or ".")
        return f"[{link['text']}]({relative}{link['anchor'] or ''})"

    return LINK.sub(site_link, markdown)


def site_uri(place: str, config: MkDocsConfig, files: Files) -> str | None:
    """Return where a file of the repository is in the site; None for a folder, which is not there.

    Args:
        place: Its path in the repository.
        config: Configuration of the site.
        files: Files of the site; a file outside docs/ is added.
    """
    if (ROOT / place).is_dir():
        return None
    if place.startswith("docs/"):
        return place.removeprefix("docs/")
    for name, source in ROOT_PAGES.items():
        if place == source:
            return name
    # A browser shows a text, and saves what it does not know.
    uri = f"files/{place}" if place.endswith(".ipynb") else f"files/{place}.txt"
    if not (ROOT / place).is_file():
        return place  # which mkdocs reports as a broken link
    if uri not in files.src_uris:
        files.append(File.generated(config, uri, abs_src_path=str(ROOT / place)))
    return uri
