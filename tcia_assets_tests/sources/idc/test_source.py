"""The Imaging Data Commons keeps the promises of a source, from an index in a folder."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from tcia_assets.catalog import (
    COLLECTION_DESCRIPTIONS,
    COLLECTIONS,
    PATIENTS,
    SERIES,
    SERIES_SIZES,
    STUDIES,
    VALUE_TABLES,
)
from tcia_assets.defs.checks import checks_of
from tcia_assets.errors import Stopped, UnknownReply
from tcia_assets.metadata.budget import ProbeBudget
from tcia_assets.metadata.refresh import refresh
from tcia_assets.settings import Settings
from tcia_assets.sources import Source, open_source
from tcia_assets.sources.idc.source import IdcSource
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.sources.idc.index_files import RELEASE, collection, series, write_index

NAME, UID = "RIDER Lung CT", "SeriesInstanceUID"


def settings_of(folder: Path, **more: str) -> Settings:
    return Settings(source="idc", idc_index=str(folder), data_dir=str(folder / "data"), **more)


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Source]:
    folder = write_index(
        tmp_path / "index",
        [*(series(n) for n in range(4)), series(9, collection_id="other")],
        collections=[collection(NAME), collection("Other")],
    )
    with open_source(settings_of(folder)) as opened:
        yield opened


def test_it_has_all_that_the_seam_promises(source: Source) -> None:
    for name, promised in inspect.getmembers(Source, inspect.isfunction):
        if not name.startswith("_"):
            given = [n.lstrip("_") for n in inspect.signature(getattr(IdcSource, name)).parameters]
            assert given == [*inspect.signature(promised).parameters], name
    for name, _ in inspect.getmembers(Source, lambda it: isinstance(it, property)):
        assert hasattr(source, name)


def test_it_is_named_by_version_and_host(source: Source) -> None:
    assert source.name == "idc-v25@s3.amazonaws.com"
    assert source.release.startswith(RELEASE)


def test_a_collection_that_the_index_lacks_is_no_empty_one(source: Source) -> None:
    with pytest.raises(UnknownReply, match=f"{RELEASE} has no series of 'LCTSC'"):
        source.rows(SERIES, "LCTSC")
    assert source.rows(COLLECTIONS).table["Collection"].to_pylist() == [NAME, "Other"]


def test_nothing_described_is_no_failure(source: Source) -> None:
    assert source.rows(COLLECTION_DESCRIPTIONS, "LCTSC").table.num_rows == 0


def test_a_series_that_it_lacks_has_a_row_with_its_uid_only(source: Source) -> None:
    found = source.rows_of(SERIES, UID, ["1.2.0", "9.9"]).table.to_pylist()
    assert [(row[UID], row["Collection"]) for row in found] == [("1.2.0", NAME), ("9.9", None)]
    sizes = source.series_sizes(["1.2.0", "9.9"]).table.to_pylist()
    assert [(row["ObjectCount"], row["TotalSizeInBytes"]) for row in sizes] == [
        (10, 5_250_000),
        (None, None),
    ]
    assert source.series_sizes(["1.2.1"]).promised == tuple(SERIES_SIZES.column_names[:4])


def test_it_has_no_request_for_changes(source: Source) -> None:
    assert source.changed_since(date(2026, 1, 1)) is None


def test_a_series_of_another_collection_is_elsewhere(source: Source) -> None:
    missing = pa.table({UID: ["1.2.9"], "StudyInstanceUID": ["1.1.3"]})
    probed = source.probe(NAME, missing, missing.slice(0, 0), 10)
    assert (list(probed.gone), dict(probed.elsewhere)) == ([], {"1.2.9": "Other"})


def test_a_stopped_source_answers_nothing(source: Source) -> None:
    source.stop()
    with pytest.raises(Stopped):
        source.rows(COLLECTIONS)


def test_all_tables_of_a_collection_are_refreshed_without_a_budget_for_sizes(
    source: Source, tmp_path: Path
) -> None:
    warehouse, at = Warehouse(tmp_path / "data"), datetime(2026, 1, 2, tzinfo=UTC)
    tables = [COLLECTIONS, PATIENTS, STUDIES, SERIES, SERIES_SIZES, *VALUE_TABLES]
    for table in (*tables, COLLECTION_DESCRIPTIONS):
        key = NAME if table.partitioned_by else ""
        done = refresh(table, key, source, warehouse, at, ProbeBudget(0))
        assert (table.name, done.unreadable, done.unclaimed) == (table.name, 0, ())
        assert done.written.rows == warehouse.read(table, [NAME] if key else None).num_rows > 0

    sizes = warehouse.read(SERIES_SIZES, [NAME])
    assert sizes["TotalSizeInBytes"].to_pylist() == [5_250_000] * 4
    for table in tables:
        for check in checks_of(table):
            found = warehouse.query(check.sql).to_pylist()
            assert (check.name, found) == (check.name, [])
