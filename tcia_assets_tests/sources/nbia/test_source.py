"""The seam over the sandbox: which endpoint answers what, in which dialect."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tcia_assets.catalog import (
    COLLECTIONS,
    DIALECTS,
    IMAGE_ARCHIVES,
    NLST,
    PATIENTS,
    SERIES,
    SERIES_SIZES,
    STUDIES,
)
from tcia_assets.errors import ForeignRows, Stopped, UnknownReply
from tcia_assets.images.audit import audit_hashes
from tcia_assets.images.fetch import fetch_images
from tcia_assets.images.fetch_session import FetchSession
from tcia_assets.images.headers import image_rows
from tcia_assets.metadata.budget import ProbeBudget
from tcia_assets.metadata.refresh import refresh
from tcia_assets.metadata.selection import Selection
from tcia_assets.sandbox.faults import Fault
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.sources import Source, Strictness, Target, open_source
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import IMPATIENT, SMALL, settings_for

LEVELS = ("SeriesInstanceUID", "StudyInstanceUID", "PatientID", "Collection")


def opened(sandbox: Sandbox, tmp_path: Path, dialect: str) -> Source:
    return open_source(settings_for(sandbox, tmp_path, dialect), pacing=IMPATIENT)


def test_rows_are_those_of_the_partition_and_what_is_promised_is_named(source: Source) -> None:
    reply = source.rows(SERIES, SMALL)
    assert set(reply.table["Collection"].to_pylist()) == {SMALL}
    assert set(reply.table.column_names) <= set(reply.promised)
    assert (reply.cost.requests, reply.unclaimed, reply.failure) == (1, (), None)
    assert reply.cost.size_bytes > 0
    assert SMALL in source.rows(COLLECTIONS).table["Collection"].to_pylist()


@pytest.mark.parametrize(
    ("dialect", "levels"), [("nbia-v4", LEVELS), ("nbia-v1", ()), ("bindaas-v4", ())]
)
def test_hashes_are_offered_at_the_levels_of_the_dialect(
    dialect: str, levels: tuple[str, ...], sandbox: Sandbox, tmp_path: Path
) -> None:
    with opened(sandbox, tmp_path, dialect) as source:
        assert set(source.hash_levels) == set(levels)


@pytest.mark.parametrize("dialect", ["nbia-v4", "bindaas-v4"])
def test_changes_are_asked_for_only_where_the_dialect_has_them(
    dialect: str, sandbox: Sandbox, tmp_path: Path
) -> None:
    with opened(sandbox, tmp_path, dialect) as source:
        changed = source.changed_since(date(1990, 1, 1))
    assert (changed is None) == (dialect == "bindaas-v4")
    assert sandbox.requests["getUpdatedSeries"] == (dialect == "nbia-v4")


@pytest.mark.parametrize("dialect", [each.name for each in DIALECTS])
def test_a_sample_has_the_rows_of_its_filters_and_the_declared_forms_of_dates(
    dialect: str, sandbox: Sandbox, tmp_path: Path
) -> None:
    with opened(sandbox, tmp_path, dialect) as source:
        patients = source.sample(PATIENTS, Collection=SMALL).rows.table["PatientID"].to_pylist()
        sample = source.sample(SERIES, Collection=SMALL, PatientID=patients[0])
    assert 0 < sample.rows.table.num_rows < 10 and sample.rows.cost.requests == 1
    assert set(sample.rows.table.column_names) <= set(sample.rows.promised)
    assert sample.date_forms
    assert sample.date_forms == {n: (sample.declared_forms[n],) for n in sample.date_forms}


def test_a_sample_tells_what_is_unclaimed_unreadable_and_foreign(
    source: Source, sandbox: Sandbox
) -> None:
    sandbox.faults.add(Fault("renamed_column", "getSeries", column="Modality", value="Kind"))
    sample = source.sample(SERIES, Collection=SMALL)
    assert sample.rows.unclaimed == ("Kind",)
    sandbox.faults.add(Fault("bad_value", "getSeries", column="SeriesDate", value="22/07/2011"))
    sample = source.sample(SERIES, Collection=SMALL)
    assert sample.rows.unreadable.keys() == {"SeriesDate"}
    assert set(sample.date_forms["SeriesDate"]) == {"", "%m-%d-%Y"}
    sandbox.faults.add(Fault("ignored_filter", "getSeries"))
    with pytest.raises(ForeignRows):
        source.sample(SERIES, Collection=SMALL)
    with pytest.raises(UnknownReply):
        source.sample(SERIES, Collection="no such Collection")


@pytest.mark.parametrize("dialect", [each.name for each in DIALECTS])
def test_each_dialect_is_as_strict_as_it_is_declared(
    dialect: str, sandbox: Sandbox, tmp_path: Path
) -> None:
    with opened(sandbox, tmp_path, dialect) as source:
        found = source.strictness()
    assert found == Strictness(refuses=dialect == "nbia-v4", declared=dialect == "nbia-v4")


@pytest.mark.parametrize(
    ("dialect", "routes", "with_md5s"),
    [
        ("nbia-v4", ("getImage", "getImageWithMD5Hash"), 2),
        ("nbia-v1", ("getImageWithMD5Hash", "getImage"), 1),
        ("bindaas-v3", ("getImage",), 0),
    ],
)
def test_the_routes_to_a_zip_begin_with_those_that_list_md5s(
    dialect: str, routes: tuple[str, ...], with_md5s: int, sandbox: Sandbox, tmp_path: Path
) -> None:
    with opened(sandbox, tmp_path, dialect) as source:
        assert (source.zip_routes, source.md5_routes) == (routes, routes[:with_md5s])


def test_the_objects_of_a_series_are_listed_and_fetched_singly(
    source: Source, tmp_path: Path
) -> None:
    series = source.rows(SERIES, SMALL).table.sort_by("ImageCount").slice(0, 1).to_pylist()[0]
    uid, received = series["SeriesInstanceUID"], list[int]()
    uids = source.object_uids(uid)
    assert uids is not None
    assert len(uids) == series["ImageCount"]

    path = tmp_path / "object.dcm"
    got = source.fetch_object(uid, min(uids), Target(path, on_bytes=received.append))
    assert got.size_bytes == path.stat().st_size == sum(received)


# --- NLST's host ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nlst_sandbox() -> Iterator[Sandbox]:
    """A server of its own that has the Collection NLST, and no other server has it."""
    with Sandbox() as server:
        uids = [row["uid"] for row in server.archive.rows(_SERIES_OF, [SMALL])]
        server.archive.move(uids, to=NLST)
        yield server


_SERIES_OF = (
    "SELECT SeriesInstanceUID AS uid FROM archive.series WHERE Collection = ? ORDER BY ImageCount"
)


@pytest.fixture
def both(sandbox: Sandbox, nlst_sandbox: Sandbox, tmp_path: Path) -> Iterator[Source]:
    """A source whose NLST has a host of its own; the Series there are hidden at the other."""
    sandbox.archive.withdraw([row["uid"] for row in sandbox.archive.rows(_SERIES_OF, [SMALL])])
    nlst_sandbox.requests.clear()
    own = nlst_sandbox.base_url("nbia-v4")
    settings = settings_for(sandbox, tmp_path).replace(nlst_base_url=own)
    with open_source(settings, pacing=IMPATIENT) as source:
        yield source


def test_nlst_is_asked_of_its_own_host_for_everything_about_it(
    both: Source, sandbox: Sandbox, nlst_sandbox: Sandbox, tmp_path: Path
) -> None:
    warehouse, budget = Warehouse(tmp_path), ProbeBudget(3)
    for table in (STUDIES, SERIES, SERIES_SIZES):
        refresh(table, NLST, both, warehouse, datetime.now(UTC), budget)
    uid = nlst_sandbox.archive.rows(_SERIES_OF, [NLST])[0]["uid"]
    result = fetch_images(NLST, FetchSession(Selection(series=(uid,))), both, warehouse)
    image_rows.index_images(NLST, warehouse)
    audit = audit_hashes(NLST, both, warehouse)

    name = f"nbia-v4@{urlsplit(nlst_sandbox.base_url('nbia-v4')).netloc}"
    assert result.fetched == {uid}
    assert warehouse.read(IMAGE_ARCHIVES, [NLST])["source"].to_pylist() == [name]
    assert set(warehouse.read(SERIES, [NLST])["source"].to_pylist()) == {name}
    assert warehouse.read(SERIES_SIZES, [NLST]).num_rows == 3
    assert (audit.equal, audit.differing) == (1, [])
    assert not sandbox.requests and nlst_sandbox.requests["getImage"] == 1


def test_all_other_collections_and_what_has_none_are_not_asked_of_it(
    both: Source, nlst_sandbox: Sandbox
) -> None:
    names = both.rows(COLLECTIONS).table["Collection"].to_pylist()
    # Listed without a request: a failure of its host is a failure of NLST alone.
    assert names.count(NLST) == 1 and SMALL not in names
    assert both.of("RIDER Lung CT").rows(SERIES, "RIDER Lung CT").table.num_rows
    assert both.changed_since(date(2020, 1, 1)) is not None
    assert not nlst_sandbox.requests


def test_a_series_that_the_others_do_not_have_is_looked_for_there(
    both: Source, sandbox: Sandbox, nlst_sandbox: Sandbox
) -> None:
    theirs = nlst_sandbox.archive.rows(_SERIES_OF, [NLST])[0]["uid"]
    ours = sandbox.archive.rows(_SERIES_OF, ["RIDER Lung CT"])[0]["uid"]
    found = both.rows_of(SERIES, "SeriesInstanceUID", [theirs, ours, "9.9.9"]).table

    pairs = zip(
        found["SeriesInstanceUID"].to_pylist(), found["Collection"].to_pylist(), strict=True
    )
    assert dict(pairs) == {theirs: NLST, ours: "RIDER Lung CT", "9.9.9": None}


def test_stopping_a_source_stops_that_of_nlst(both: Source) -> None:
    both.stop()
    with pytest.raises(Stopped):
        both.of(NLST).rows(SERIES, NLST)
