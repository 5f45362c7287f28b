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

MAKE_DOCS = re.compile(r"/mkdocs (build .*)")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site as `make docs` does; a warning, such as of a broken link, is an error."""
    folder = tmp_path_factory.mktemp("site")
    done = build_site("-d", folder)
    assert done.returncode == 0, done.stderr
    return folder


def build_site(*options: str | Path) -> subprocess.CompletedProcess[str]:
    """Run mkdocs with the options that `make docs` gives it, and these."""
    made = MAKE_DOCS.search((ROOT / "Makefile").read_text(encoding="utf-8"))
    assert made
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", *made[1].split(), *options],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_make_docs_fails_on_a_broken_link(tmp_path: Path) -> None:
    """With --quiet, mkdocs counts no warning, and --strict passes; `site` has good links only."""
    links = "[good](#here) [no file](gone.md) [no heading](#gone) [a folder](sub/)"
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text(f"# Here\n\n{links}\n", encoding="utf-8")
    config = tmp_path / "mkdocs.yml"
    config.write_text(
        f"INHERIT: {ROOT / 'mkdocs.yml'}\nnav: [index.md]\nplugins: []\nhooks: []\n",
        encoding="utf-8",
    )
    done = build_site("-f", config)

    assert done.returncode != 0, done.stderr
    warnings = [line for line in done.stderr.splitlines() if "WARNING" in line]
    assert len(warnings) == 3 and "#here" not in "".join(warnings)
    for bad in ("gone.md", "#gone", "sub/"):
        assert any(bad in line for line in warnings), bad


def test_each_page_of_the_menu_has_an_entry_and_a_single_page_no_side_menu(site: Path) -> None:
    side_menu = re.compile(r"md-sidebar--primary[^>]*hidden")
    pages = {
        name: (site / f"{name}.html").read_text(encoding="utf-8")
        for name in ("index", "comparison", "sources", "decisions/index")
    }

    assert "decisions/index.html class=md-nav__link" in pages["sources"].replace('"', "")
    hidden = {name for name, html in pages.items() if side_menu.search(html)}
    assert hidden == {"index", "comparison"}


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
