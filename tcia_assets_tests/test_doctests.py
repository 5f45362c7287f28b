"""The examples in docstrings give what they show."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import tcia_assets


def test_the_examples_in_docstrings_give_what_they_show() -> None:
    found = pkgutil.walk_packages(tcia_assets.__path__, "tcia_assets.")
    names = [module.name for module in found if not module.name.endswith("__main__")]
    results = {name: doctest.testmod(importlib.import_module(name)) for name in names}
    assert [name for name, result in results.items() if result.failed] == []
    assert sum(result.attempted for result in results.values()) > 50
