"""The seam over the sandbox: which endpoint answers what, in which dialect."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from tcia_assets.catalog import COLLECTIONS, DIALECTS, PATIENTS, SERIES
from tcia_assets.errors import ForeignRows, UnknownReply
from tcia_assets.sandbox.faults import Fault
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.sources import Source, Strictness, Target, open_source
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
    ("dialect", "routes"),
    [
        ("nbia-v4", ("getImage", "getImageWithMD5Hash")),
        ("nbia-v1", ("getImageWithMD5Hash", "getImage")),
        ("bindaas-v3", ("getImage",)),
    ],
)
def test_the_routes_to_a_zip_begin_with_those_that_list_md5s(
    dialect: str, routes: tuple[str, ...], sandbox: Sandbox, tmp_path: Path
) -> None:
    with opened(sandbox, tmp_path, dialect) as source:
        assert source.zip_routes == routes


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
