"""The examples in docstrings give what they show."""

from __future__ import annotations

import doctest
import importlib

from tcia_assets_tests.repository import ROOT


def test_the_examples_in_docstrings_give_what_they_show() -> None:
    # To look for examples in a module takes as long as to import it; most have none.
    files = [p for p in (ROOT / "tcia_assets").rglob("*.py") if ">>> " in p.read_text("utf-8")]
    names = [".".join(p.relative_to(ROOT).with_suffix("").parts) for p in files]
    names = [name.removesuffix(".__init__") for name in names]
    results = {name: doctest.testmod(importlib.import_module(name)) for name in names}
    assert [name for name, result in results.items() if result.failed] == []
    assert sum(result.attempted for result in results.values()) > 50
