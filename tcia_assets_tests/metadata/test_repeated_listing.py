"""A listing that is the one before has a row of `snapshots`, and changes nothing else."""

from __future__ import annotations

from tcia_assets import catalog
from tcia_assets.metadata.budget import ProbeBudget
from tcia_assets.metadata.refresh import refresh
from tcia_assets.sources import Source
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import SMALL
from tcia_assets_tests.metadata.mirror import day


def test_a_listing_that_is_known_is_recorded(source: Source, warehouse: Warehouse) -> None:
    budget = ProbeBudget(0)
    first = refresh(catalog.SERIES, SMALL, source, warehouse, day(1), budget)
    path = warehouse.path(catalog.SERIES, SMALL)
    before = path.stat()
    second = refresh(catalog.SERIES, SMALL, source, warehouse, day(2), budget)
    assert (first.is_known, second.is_known, second.written.changed) == (False, True, False)
    listed = first.facts["listed"]
    assert second.facts == {**first.facts, "new": 0, "events": 0, "listed_before": listed}
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    rows = warehouse.read(catalog.SNAPSHOTS, [SMALL]).to_pylist()
    assert [row["taken_at"] for row in rows] == [day(1), day(2)]
    assert [row["listed"] for row in rows] == [listed] * 2
    assert len({row["snapshot"].split()[1] for row in rows}) == 1
