"""The seam: what is opened for which settings."""

from __future__ import annotations

import inspect

import pytest

from tcia_assets.settings import Settings
from tcia_assets.sources import (
    Cost,
    ProbeResult,
    Source,
    SourceRows,
    counting,
    open_source,
)
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


def test_results_are_empty_by_default() -> None:
    probed, rows = ProbeResult(), SourceRows(table=None)
    assert (probed.gone, probed.elsewhere, probed.probed, probed.failure) == ((), {}, 0, None)
    assert (rows.unclaimed, rows.promised, rows.cost, rows.failure) == ((), (), Cost(), None)


def test_bytes_that_were_reported_are_taken_back_if_the_download_fails() -> None:
    seen: list[int] = []

    def receive(*sizes: int, error: str = "") -> None:
        with counting(seen.append) as count:
            for size in sizes:
                count(size)
            if error:
                raise OSError(error)

    receive(3)
    with pytest.raises(OSError, match="full"):
        receive(4, 5, error="full")
    with pytest.raises(OSError, match="at once"):
        receive(error="at once")

    assert seen == [3, 4, 5, -9]
