"""Rows of the list of Collections that have no name are left out, and counted."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tcia_assets.catalog import COLLECTIONS
from tcia_assets.errors import UnknownReply
from tcia_assets.metadata.budget import ProbeBudget
from tcia_assets.metadata.collection_list import request_collections
from tcia_assets.metadata.refresh import refresh
from tcia_assets.sandbox.faults import Fault
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.settings import Settings
from tcia_assets.sources import Source, open_source
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import IMPATIENT
from tcia_assets_tests.sources.conftest import base
from tcia_assets_tests.sources.scripted import Scripted, answer

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_row_without_a_name_is_left_out_with_a_note(sandbox: Sandbox, source: Source) -> None:
    names = request_collections(source).names
    assert request_collections(source).note == ""
    sandbox.faults.add(Fault("null_row", "getCollectionValues"))
    listed = request_collections(source)

    assert listed.names == names
    assert listed.note == "left out: 1 row without a name in the source's list of Collections"


def test_the_other_collections_are_stored(
    sandbox: Sandbox, source: Source, warehouse: Warehouse
) -> None:
    sandbox.faults.add(Fault("null_row", "getCollectionValues"))
    done = refresh(COLLECTIONS, "", source, warehouse, NOW, ProbeBudget(0))

    stored = warehouse.read(COLLECTIONS)["Collection"].to_pylist()
    assert stored == sorted(request_collections(source).names)
    assert done.facts == {"unnamed": 1}


def test_a_list_without_any_name_is_an_error_and_not_an_empty_list() -> None:
    with Scripted(answer("[{}]")) as server:
        settings = Settings(base_url=base(server.url, "nbia-v4"))
        with (
            open_source(settings, pacing=IMPATIENT) as source,
            pytest.raises(UnknownReply, match="no row of the source's list"),
        ):
            request_collections(source)
