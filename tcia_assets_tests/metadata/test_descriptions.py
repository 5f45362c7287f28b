"""Descriptions of Collections are stored with their licence, and never lost to an empty reply."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tcia_assets.catalog import COLLECTION_DESCRIPTIONS, SERIES
from tcia_assets.errors import ArchiveBroken
from tcia_assets.metadata.budget import ProbeBudget
from tcia_assets.metadata.refresh import refresh
from tcia_assets.metadata.refresh_result import RefreshResult
from tcia_assets.sandbox.faults import Fault
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.sources import open_source
from tcia_assets.store.conform import conform
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import IMPATIENT, SMALL, idc_settings_for, settings_for
from tcia_assets_tests.metadata.mirror import SandboxMirror, day

ENDPOINT = COLLECTION_DESCRIPTIONS.endpoint


def describe(mirror: SandboxMirror) -> RefreshResult:
    return refresh(
        COLLECTION_DESCRIPTIONS, SMALL, mirror.source, mirror.warehouse, day(1), ProbeBudget(0)
    )


def stored(mirror: SandboxMirror) -> list[dict[str, Any]]:
    return mirror.warehouse.read(COLLECTION_DESCRIPTIONS, [SMALL]).to_pylist()


def test_a_description_has_the_licence_of_its_series_and_links_to_its_doi(
    mirror: SandboxMirror,
) -> None:
    mirror.start()
    done = describe(mirror)
    [row] = stored(mirror)
    series = mirror.warehouse.read(SERIES, [SMALL]).to_pylist()

    assert {row["LicenseName"]} == {each["LicenseName"] for each in series}
    assert row["source"] == mirror.source.name and row["title"] is None
    assert done.facts == {"received": 1, "doi": f"https://doi.org/{row['doi']}"}


def test_after_a_switch_what_only_the_other_source_knows_of_publications_stays(
    mirror: SandboxMirror,
) -> None:
    settings = idc_settings_for(mirror.sandbox, mirror.warehouse.root, idc_scope="all")
    with open_source(settings) as idc:
        for table in (SERIES, COLLECTION_DESCRIPTIONS):
            refresh(table, SMALL, idc, mirror.warehouse, day(1), ProbeBudget(0))
    own, derived = sorted(stored(mirror), key=lambda row: str(row["doi"]), reverse=True)
    mirror.refresh(day(2), SMALL)
    describe(mirror)
    rows = {row["doi"]: row for row in stored(mirror)}

    assert rows.pop(derived["doi"]) == derived  # its Series stay
    [row] = rows.values()
    same = ("doi", "title", "citation", "cancer_types", "tumor_locations", "program", "status")
    assert [row[name] for name in same] == [own[name] for name in same] and own["title"]
    assert row["source"] == mirror.source.name and row["description"] != own["description"]
    assert not describe(mirror).written.changed


def test_a_publication_that_no_series_names_any_more_goes(mirror: SandboxMirror) -> None:
    mirror.start()
    describe(mirror)
    before = stored(mirror)
    with mirror.warehouse.update(COLLECTION_DESCRIPTIONS, SMALL) as partition:
        partition.rows = conform(
            COLLECTION_DESCRIPTIONS,
            pa.Table.from_pylist([*before, before[0] | {"doi": "10.1/old"}], partition.rows.schema),
        )
    describe(mirror)

    assert stored(mirror) == before


def test_before_the_series_are_stored_the_licence_is_unknown(mirror: SandboxMirror) -> None:
    describe(mirror)
    assert [row["LicenseName"] for row in stored(mirror)] == [None]


def test_a_source_that_describes_nothing_leaves_what_is_stored(mirror: SandboxMirror) -> None:
    describe(mirror)
    before = stored(mirror)
    mirror.sandbox.faults.add(Fault("empty", ENDPOINT))
    done = describe(mirror)

    assert stored(mirror) == before and not done.written.changed
    assert done.facts["received"] == 0


def test_a_failure_leaves_what_is_stored(mirror: SandboxMirror) -> None:
    describe(mirror)
    before = stored(mirror)
    mirror.sandbox.faults.add(Fault("status", ENDPOINT, status=500, times=0))
    with pytest.raises(ArchiveBroken):
        describe(mirror)
    assert stored(mirror) == before


def test_in_a_dialect_without_descriptions_the_table_is_empty(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    with open_source(settings_for(sandbox, tmp_path, "nbia-v1"), pacing=IMPATIENT) as source:
        warehouse = Warehouse(tmp_path)
        done = refresh(COLLECTION_DESCRIPTIONS, SMALL, source, warehouse, day(1), ProbeBudget(0))
    assert (done.written.rows, done.cost.requests) == (0, 0)
    assert warehouse.query("SELECT * FROM collection_descriptions").num_rows == 0
