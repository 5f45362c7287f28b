"""The seam: what is opened for which settings."""

from __future__ import annotations

import inspect

import pytest

from tcia_assets.settings import Settings
from tcia_assets.sources import Source, open_source
from tcia_assets.sources.nbia.source import NbiaSource
from tcia_assets_tests.sources.conftest import SECRETS


@pytest.mark.parametrize("dialect", ["nbia-v4", "bindaas-v3"])
def test_a_source_is_named_by_dialect_and_host(dialect: str) -> None:
    settings = Settings(dialect=dialect, base_url="http://127.0.0.1:9/x", **SECRETS)
    with open_source(settings) as source:
        assert source.name == f"{dialect}@127.0.0.1:9"
        assert source.settings is settings
        assert source.connections == settings.max_connections


def test_the_source_of_nbia_has_all_that_the_seam_promises() -> None:
    for name, promised in inspect.getmembers(Source, inspect.isfunction):
        if not name.startswith("_"):
            given = inspect.signature(getattr(NbiaSource, name))
            assert [*given.parameters] == [*inspect.signature(promised).parameters], name
    properties = [
        name for name, _ in inspect.getmembers(Source, lambda it: isinstance(it, property))
    ]
    with open_source(Settings()) as source:
        assert all(hasattr(source, name) for name in properties)
