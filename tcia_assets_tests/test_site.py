"""The site of the docs: no broken link, no page that is not reached, nothing from a network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tcia_assets_tests.repository import ROOT

# What a browser loads with a page; links to follow may lead anywhere.
LOADED = re.compile(
    r"""<(?:script|img|iframe|source)\b[^>]*\bsrc="?(https?:[^" >]+)"""
    r"""|<link\b(?=[^>]*stylesheet|[^>]*icon|[^>]*preconnect)[^>]*\bhref="?(https?:[^" >]+)"""
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site as `make docs` does; a warning, such as of a broken link, is an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", folder]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_the_site_loads_nothing_from_a_network(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    found = {p.name: LOADED.findall(p.read_text(encoding="utf-8")) for p in pages}
    styles = " ".join(p.read_text(encoding="utf-8") for p in site.rglob("*.css"))

    assert len(pages) > 10
    assert {name: urls for name, urls in found.items() if urls} == {}
    assert re.findall(r"url\([\"']?https?:[^)]*\)|@import[^;]*https?:[^;]*", styles) == []


def test_the_search_works_without_a_server(site: Path) -> None:
    home = (site / "index.html").read_text(encoding="utf-8")
    index = (site / "search" / "search_index.js").read_text(encoding="utf-8")

    assert '<script src="js/iframe-worker-shim.js"' in home
    assert "withdrawn_at" in index


def test_a_page_has_the_lists_and_tables_of_its_markdown(site: Path) -> None:
    """A list that follows a line of text is a list on GitHub, and a part of the text here."""
    found = {
        page.relative_to(site).as_posix(): lines
        for page in site.rglob("*.html")
        if (lines := re.findall(r"\n(?:- |\d\. |\|).*", prose(page.read_text(encoding="utf-8"))))
    }
    assert found == {}


def prose(html: str) -> str:
    """Return the paragraphs of a page."""
    return "\n".join(re.findall(r"<p>(.*?)</p>", html, flags=re.DOTALL))
