"""Templates: everything is escaped, and pages load nothing but what is ours."""

from __future__ import annotations

import hashlib
import re

import pytest
from jinja2 import UndefinedError

from tcia_assets.pages import rendering
from tcia_assets.pages.collection_facts import CollectionFacts
from tcia_assets.pages.collection_page import collection_page
from tcia_assets_tests.pages.html import Page
from tcia_assets_tests.repository import ROOT

PAGES = ROOT / "tcia_assets" / "pages"


def test_the_policy_forbids_inline_scripts_and_every_network() -> None:
    rules = dict(rule.strip().split(" ", 1) for rule in rendering.POLICY.split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == "'self'"
    assert "http" not in rendering.POLICY and "unsafe" not in rendering.POLICY


def test_no_page_has_an_inline_script_or_style() -> None:
    for template in sorted((PAGES / "templates").iterdir()):
        text = template.read_text(encoding="utf-8")
        assert not re.search(r"<script(?![^>]* src=)|<style|\bstyle=|\bon[a-z]+=", text), template
        assert "|safe" not in text.replace(" ", ""), template


def test_our_scripts_never_write_html() -> None:
    for script in sorted((PAGES / "static").glob("*.js")):
        text = script.read_text(encoding="utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", text)
        assert not re.search(r"localStorage|sessionStorage|cookie|XMLHttpRequest|fetch\(", text)


def test_scripts_of_others_are_as_their_registry_has_them_and_have_licences() -> None:
    vendor = PAGES / "vendor"
    listed = (vendor / "README.txt").read_text(encoding="utf-8")
    own = [each for each in vendor.iterdir() if each.suffix in {".js", ".css"}]
    for file in own:
        assert f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}" in listed
        licence = re.search(rf"{re.escape(file.name)}.* (\S+[.]LICENSE[.]txt)", listed)
        assert licence is not None and (vendor / licence[1]).is_file()
    assert sum(each.stat().st_size for each in vendor.iterdir()) < 4_000_000


def test_a_missing_value_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        rendering.render("collection.html", root="")


def test_a_page_loads_only_files_of_the_catalogue() -> None:
    page = Page(collection_page(CollectionFacts(name="X"), "X", []))
    loaded = [each["src"] for tag in ("script", "img") for each in page.all(tag)]
    loaded += [each["href"] for each in page.all("link")]
    assert loaded and all(each.startswith("../") for each in loaded)
    assert page.open == []
